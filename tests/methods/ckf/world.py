"""Made-up questions of three tasks (a choice of two, one of five, the right title as text) for a tiny backbone."""

import functools

import numpy as np
import torch

from recsys_lora.data.batch import PromptSet
from recsys_lora.data.history import Pairs
from recsys_lora.data.loader import Batching
from recsys_lora.data.training import TrainSet
from recsys_lora.llm.answer import ResolvedChoices
from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.answers import Answers
from recsys_lora.methods.ckf.mapping import CollaborativeMapping
from recsys_lora.methods.ckf.module import CKFMultiTaskModule
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.prompts.encoded import EncodedPrompts
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.topk import TopK
from tests.methods.synthetic import prepared
from tests.tasks import world as tasks_world

LIKED, RATING, TITLE = 0, 1, 2
CHOICES = (ResolvedChoices([], [20, 21], ["a", "b"]), ResolvedChoices([], [30, 31, 32, 20, 33], list("12345")), None)
CANDIDATES, HISTORY = 3, 5


def asked(tasks=3):
    """Return tasks of these kinds; the made-up questions are answered by `CHOICES`, whatever their tokens mean."""
    made = {
        "liked": ClickThrough(**tasks_world.prompts()),
        "rating": Rating(**tasks_world.prompts()),
        "title": TopK(**tasks_world.listed(), candidates=CANDIDATES, cutoffs=[1]),
    }
    return dict(list(made.items())[:tasks])


def data(users=12, items=15, seed=0):
    titles = [f"Film {number} ({1950 + number})" for number in range(items)]
    return prepared(users=users, items=items, rows_each=12, dim=6, seed=seed, titles=titles)


def module(world, *, objective=None, mapping=None, lr=1e-3, seed=0, source=None, tasks=3, named=None, **knobs):
    prepared_data, encoder = world
    torch.manual_seed(seed)
    settings = {
        "name": "ckf",
        "batch_size": 8,
        "tasks": named or asked(tasks),
        "optimizer": OptimizerSettings(lr=lr, weight_decay=0.0),
        "objective": objective or Objective(),
        "mapping": functools.partial(CollaborativeMapping, **(mapping or {})),
        "history_length": HISTORY,
        "input_scale": "std",
        "lora": "multi",
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.0,
        "dropout_per": "sample",
        "shared_targets": ["k_proj", "v_proj", "o_proj"],
        "specific_targets": ["q_proj"],
        "backbone": (source or TinySource()).load(prepared_data.titles[1:], "cpu"),
        "identity": {"data": prepared_data.key, "encoder": "table"},
    }
    made = CKFMultiTaskModule(encoder=encoder, **{**settings, **knobs})
    if named is None:
        binary = [True, False, False][:tasks]
        made.answers = Answers(made.backbone, CHOICES[:tasks], binary, offset=made.offset)
        made.validation.answers = made.answers
    return made


def started(module, std=0.2):
    """Move every low-rank factor away from its start, where P = 0 hides A."""
    torch.manual_seed(5)
    for parameter in module.lowrank.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return module


def pairs(rows=48, tasks=(LIKED, RATING, TITLE), seed=0, users=12, items=15, no_history=0.2) -> TrainSet:
    """Return questions whose tasks take turns; a fifth of the users have no history."""
    random = np.random.default_rng(seed)
    task = np.resize(np.array(tasks), rows)
    choices = np.select([task == LIKED, task == RATING], [2, 5], CANDIDATES)
    target = random.integers(0, choices)
    history = random.integers(1, items + 1, (rows, HISTORY))
    padding = np.where(random.random(rows) < no_history, HISTORY, random.integers(0, HISTORY, rows))
    history[np.arange(HISTORY) < padding[:, None]] = 0
    candidates = np.stack([random.permutation(items)[:CANDIDATES] + 1 for _ in range(rows)])
    candidates[task != TITLE, 1:] = 0
    answer = np.where(task == TITLE, random.integers(1, 4, rows), 0)
    columns = {
        "user": random.integers(1, users + 1, rows),
        "items": candidates,
        "history": history,
        "label": (target == 0).astype(np.float32),
        "target": target,
        "answer_tokens": answer,
        "task": task,
        "row": np.arange(rows),
    }
    text = [random.integers(40, 200, random.integers(8, 14)) + np.zeros(1, dtype=np.int32) for _ in range(rows)]
    soft = [[0, *range(2, 2 + c)] for c in (candidates > 0).sum(1)]
    return TrainSet(
        {
            "collaborative": PromptSet(_prompts(text, soft), **columns),
            "text": PromptSet(_prompts(text, [[]] * rows), **columns),
        }
    )


def _prompts(text, soft) -> EncodedPrompts:
    """Return prompts with soft tokens put in at the given places."""
    placed = []
    for tokens, places in zip(text, soft, strict=True):
        whole = [int(token) for token in tokens]
        for place in places:
            whole.insert(place, 0)
        placed.append(np.array(whole, dtype=np.int32))
    positions = np.full((len(text), max(map(len, soft))), -1, dtype=np.int32)
    for row, places in zip(positions, soft, strict=True):
        row[: len(places)] = places
    return EncodedPrompts(np.concatenate(placed), np.cumsum([0, *map(len, placed)]), positions)


def batch(prompts, index=None, pad_id=0, padding="right"):
    return prompts.batch(np.arange(len(prompts)) if index is None else np.asarray(index), pad_id, padding)


class Questions(TaskData):
    """Made-up questions to train and validate on."""

    def __init__(self, world, pad_id, rows=48, batch_size=8, **knobs) -> None:
        """Make them."""
        batching = Batching(batch_size, pad_id, token_budget=256)
        super().__init__(world[0], {}, {}, versions=("collaborative", "text"), batching=batching, seed=3)
        train = world[0].rows("train")
        self.train, self.train_pairs = pairs(rows, **knobs), Pairs(train.user, train.item, train.position)
        self.valid, self.shares = self.train.versions["collaborative"], [1.0, 1.0, 1.0]
