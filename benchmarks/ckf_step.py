"""One training step of CKF on four tasks at once, against one forward and backward per task, as in research code.

    python benchmarks/ckf_step.py                                   # a random 30M Llama, no download
    python benchmarks/ckf_step.py --llm smollm2_135m --dtype bfloat16 --compiled --json ckf_step.json

Compared in turn, in one process, on the same questions, model and weights; a step computes the losses of both versions
of every question (text only, and with soft tokens) and their gradients:

    this package   one batch that mixes the tasks: one forward per version and group of similar lengths, one backward;
                   soft tokens inserted in one operation; the head for answers only
    compiled       the same with compiled blocks (`--compiled`)
    unsplit        each version as one forward, padded to its longest question
    task by task   a separate forward and backward for each task and version; soft tokens inserted row by row; all
                   logits (B, T, V)

All use the same low-rank layers, so the ratio says nothing about these. It first checks that the summed losses and all
gradients are the same. The optimiser step, which is the same for all, is left out. The ratio is a case's time over this
package's, compiled if that is, in the same round. Lengths are those of Amazon's Gift Cards with the default prompts: a
list of candidates is three times as long as a question about one item. The note gives the number of tokens that went
through the body, and the share of padding.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import _models
import _table
import _timing
from _table import Aim, Row
from _timing import OURS, Step

BY_TASK, WHOLE, COMPILED = "task by task", "unsplit", "compiled"
AIMS = {BY_TASK: Aim(2)}
TOLERANCE = {"float32": 2e-3, "float16": 0.03, "bfloat16": 0.2}
"""Relative to the norm of all gradients together; each case is as far from float32's, .08 in bfloat16."""
TASKS = ("ctr", "rating", "topk", "explanation")
CHOICES = {"ctr": 2, "rating": 5}
"""Number of one-token answers of a task; the answers of the others are text."""
LENGTHS = {"ctr": (49, 77), "rating": (50, 88), "topk": (180, 214), "explanation": (47, 79)}
"""Tokens per question by task: quartiles over Gift Cards' training questions, text only, with SmolLM2's tokenizer."""
CANDIDATES, HISTORY, ENCODER_DIM, USERS, ITEMS = 3, 20, 64, 200, 500


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=3)
    _models.add_backbone(parser)
    parser.add_argument("--batch", type=int, default=8, help="questions of a batch, of all tasks in turn")
    parser.add_argument("--rank", type=int, default=16, help="R")
    parser.add_argument("--compiled", action="store_true", help="compile too: half a minute more")
    return parser.parse_args(argv)


def make_questions(options: argparse.Namespace, vocabulary: int) -> Any:
    """Return random questions of the four tasks in turn, in both versions, as a `TrainSet`."""
    import numpy as np

    from recsys_lora.data.batch import PromptSet
    from recsys_lora.data.length_buckets import FORWARD_OVERHEAD_TOKENS
    from recsys_lora.data.training import TrainSet

    random = np.random.default_rng(0)
    rows = options.batch
    task = np.arange(rows) % len(TASKS)
    choices = np.array([CHOICES.get(name, 0) for name in TASKS])[task]  # 0 if the answer is text
    items = np.stack([random.permutation(ITEMS)[:CANDIDATES] + 1 for _ in range(rows)])
    items[task != TASKS.index("topk"), 1:] = 0
    history = random.integers(1, ITEMS + 1, (rows, HISTORY))
    history[np.arange(HISTORY) < random.integers(0, HISTORY, rows)[:, None]] = 0
    history[0] = 0  # a user without history trains the mapping's default
    target = np.where(choices > 0, random.integers(0, np.maximum(choices, 1)), -1)
    columns = {
        "user": random.integers(1, USERS + 1, rows),
        "items": items,
        "history": history,
        "label": (target == 0).astype(np.float32),
        "target": target,
        "answer_tokens": np.where(choices > 0, 0, random.integers(3, 9, rows)),
        "task": task,
        "row": np.arange(rows),
    }
    lowest, highest = np.array([LENGTHS[name] for name in TASKS])[task].T
    lengths = random.integers(lowest, highest + 1)
    texts = [random.integers(3, vocabulary, length) for length in lengths]
    places = [[2, *range(4, 4 + int(count))] for count in (items > 0).sum(1)]
    text, collaborative = (PromptSet(_encoded(texts, own), **columns) for own in ([[]] * rows, places))
    forward_overhead_tokens = FORWARD_OVERHEAD_TOKENS if options.device == "cpu" else None
    return TrainSet({"collaborative": collaborative, "text": text}, forward_overhead_tokens)


def _encoded(texts: Sequence[Any], places: Sequence[Sequence[int]]) -> Any:
    """Return prompts whose tokens at `places` are soft tokens."""
    import numpy as np

    from recsys_lora.prompts.encoded import EncodedPrompts

    positions = np.full((len(texts), max(map(len, places))), -1, dtype=np.int32)
    whole = []
    for text, own, row in zip(texts, places, positions, strict=True):
        tokens = text.astype(np.int32)
        tokens[own] = 0
        row[: len(own)] = own
        whole.append(tokens)
    return EncodedPrompts(np.concatenate(whole), np.cumsum([0, *map(len, whole)]), positions)


def make_tasks() -> dict[str, Any]:
    """Return the four tasks, with short prompts of both kinds."""
    from recsys_lora.prompts.template import Template
    from recsys_lora.tasks.ctr import ClickThrough
    from recsys_lora.tasks.explanation import Explanation
    from recsys_lora.tasks.rating import Rating
    from recsys_lora.tasks.scale import RatingScale
    from recsys_lora.tasks.topk import TopK

    scale, soft = RatingScale(1.0, 5.0, 1.0), {"soft_tokens": ("user", "item")}
    one: dict[str, Any] = {
        "text": Template("{title}?\n#Answer:", "{title}?\n#Answer:"),
        "collaborative": Template("<user> {title} <item>?\n#Answer:", "<user> {title} <item>?\n#Answer:", **soft),
        "scale": scale,
    }
    several: dict[str, Any] = {
        "text": Template("{candidates}?\n#Answer:", "{candidates}?\n#Answer:", candidate="{title}"),
        "collaborative": Template(
            "<user> {candidates}?\n#Answer:", "<user> {candidates}?\n#Answer:", candidate="{title} <item>", **soft
        ),
        "scale": scale,
    }
    return {
        "ctr": ClickThrough(**one),
        "rating": Rating(**one),
        "topk": TopK(**several, candidates=CANDIDATES, cutoffs=[1]),
        "explanation": Explanation(**one),
    }


def make_module(options: argparse.Namespace) -> Any:
    """Return CKF's module as in its default config, without dropout, in the middle of its training."""
    import torch

    backbone = _models.load(options, ["a film of words"])
    torch.manual_seed(0)
    encoder = _models.vectors(USERS, ITEMS, ENCODER_DIM)
    sizes = {"batch_size": options.batch, "rank": options.rank, "alpha": 4.0 * options.rank}
    module = _models.ckf(backbone, encoder, tasks=make_tasks(), history_length=HISTORY, **sizes)
    for parameter in module.lowrank.parameters():
        torch.nn.init.normal_(parameter, std=0.02)  # P = 0 would leave A without a gradient
    return module.to(options.device)


class Steps:
    """The two ways to compute the same losses and gradients.

    Args:
        options: the command line.
        compiled: compile the blocks.
    """

    def __init__(self, options: argparse.Namespace, compiled: bool = False) -> None:
        import numpy as np

        from recsys_lora.llm.compiling import compile_blocks

        self.module = make_module(options)
        if compiled:
            compile_blocks(self.module.backbone.model, options.device)
        self.backbone = self.module.backbone
        questions = make_questions(options, min(self.backbone.model.config.vocab_size, 2_000))
        pad = self.backbone.pad_id
        self.mixed = questions.batch(np.arange(len(questions)), pad, "right").to(options.device)
        unsplit = replace(questions, forward_overhead_tokens=None)
        self.whole = unsplit.batch(np.arange(len(questions)), pad, "right").to(options.device)
        tasks = [np.flatnonzero(questions.task == number) for number in range(len(TASKS))]
        self.separate = [unsplit.batch(rows, pad, "right").to(options.device) for rows in tasks if len(rows)]

    def ours(self, batch: Any) -> Any:
        """Run this package's step on a batch of all tasks; return the summed loss."""
        loss = sum(self.module.loss(part).sum() for part in parts(batch))
        loss.backward()
        return loss.detach()

    def by_task(self) -> Any:
        """Run a step task by task; return the summed loss."""
        import torch

        total = torch.zeros((), device=self.module.device)
        for batch in self.separate:
            for part in parts(batch):
                loss = torch.stack(list(self._losses(part))).sum()
                loss.backward()
                total += loss.detach()
        return total

    def _losses(self, batch: Any) -> Iterator[Any]:
        """Yield the loss of each row of one task's batch, computed from all logits."""
        from torch.nn import functional

        embeds = self._embeds(batch)
        logits = self.backbone.model(inputs_embeds=embeds, attention_mask=batch.attention_mask.long()).logits.float()
        choices = self.module.answers.choices[int(batch.task[0])]
        lengths = batch.attention_mask.sum(1).tolist()
        for row, length in enumerate(lengths):
            if choices is not None:
                answers = logits[row, length - 1, choices.token_ids]
                yield functional.cross_entropy(answers, batch.target[row])
            else:
                begin = length - int(batch.answer_tokens[row])
                yield functional.cross_entropy(logits[row, begin - 1 : length - 1], batch.input_ids[row, begin:length])

    def _embeds(self, batch: Any) -> Any:
        """Return the input embeddings of a batch, with the soft tokens inserted row by row."""
        import torch

        vectors = self.module.collaborative(batch)
        self.module.condition(batch, vectors)
        embeds = self.backbone.embed(batch.input_ids)
        soft = self.module.soft_tokens(batch, vectors)
        if soft is None:
            return embeds
        rows = []
        for row, places in enumerate(batch.soft_positions.tolist()):
            pieces, after = [], 0
            for number, place in enumerate(each for each in places if each >= 0):
                pieces += [embeds[row, after:place], soft[row, number : number + 1].to(embeds.dtype)]
                after = place + 1
            rows.append(torch.cat([*pieces, embeds[row, after:]]))
        return torch.stack(rows)

    def with_gradients(self, step: Step) -> list[Any]:
        """Return a step's loss and the gradients of all trained parameters, then drop the gradients."""
        loss = step()
        trained = [*self.module.lowrank.parameters(), *self.module.mapping.parameters()]
        gradients = [parameter.grad for parameter in trained]
        self.forget()
        return [loss, *(gradient for gradient in gradients if gradient is not None)]

    def forget(self) -> None:
        """Drop all gradients."""
        self.module.zero_grad(set_to_none=True)


def parts(batch: Any) -> list[Any]:
    """Return the groups of both versions."""
    return [group for groups in batch.versions.values() for group in groups]


def joined(tensors: Sequence[Any]) -> Any:
    """Return all entries as one vector."""
    import torch

    return torch.cat([tensor.flatten().float() for tensor in tensors])


def padding(batches: Sequence[Any]) -> str:
    """Return the number of tokens of batches in the body, and the share of padding, as text."""
    masks = [part.attention_mask for batch in batches for part in parts(batch)]
    tokens, real = sum(mask.numel() for mask in masks), sum(int(mask.sum()) for mask in masks)
    return f"{tokens} tokens, {1 - real / tokens:.0%} padding"


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    both = Steps(options)
    shapes = _models.about(both.backbone, options)
    steps: dict[str, Step] = {OURS: lambda: both.with_gradients(lambda: both.ours(both.mixed))}
    if options.compiled:
        fast = Steps(options, compiled=True)
        steps[COMPILED] = lambda: fast.with_gradients(lambda: fast.ours(fast.mixed))
    steps[WHOLE] = lambda: both.with_gradients(lambda: both.ours(both.whole))
    steps[BY_TASK] = lambda: both.with_gradients(both.by_task)
    loss, *gradients = steps[BY_TASK]()
    for case in steps.keys() - {BY_TASK}:
        own, *theirs = steps[case]()
        tolerance = TOLERANCE[shapes["dtype"]]
        _timing.same(own, loss, tolerance, f"{case}, loss")
        _timing.same(joined(theirs), joined(gradients), tolerance, f"{case}, gradients", whole=True)
    reference = COMPILED if options.compiled else OURS
    rows = _timing.with_peaks(_timing.compared(_timing.in_turn(steps, options), reference, AIMS), steps, options)
    notes = {BY_TASK: padding(both.separate), WHOLE: padding([both.whole])}
    rows = [replace(row, note=notes.get(row.case, padding([both.mixed]))) for row in rows]
    shapes |= {"B": options.batch, "R": options.rank, "tasks": list(TASKS)}
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
