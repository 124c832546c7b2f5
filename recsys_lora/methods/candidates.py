"""Scores of several candidates for one user from any trained method, as a deployed recommender needs them.

The prompts share a prefix, which is read once (`llm/shared_prefix.py`): with ten titles of history, most of every
prompt. If a method changes the backbone's weights for every (user, item) pair, or adds vectors at single tokens, the
prefix ends before the first affected token: before the candidate's title (CoRA with scope=suffix) or the user's soft
token (GraphLoRA). Otherwise CoRA's weights act on all tokens, and its prompts are read in full.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.cf.inference import evaluating
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import Pairs, UserItems
from recsys_lora.data.loader import token_budget_batches
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.shared_prefix import SharedPrefix
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import CTR
from recsys_lora.utils.errors import UserError

_LATEST = np.iinfo(np.int64).max


def score_candidates(
    module: LLMRecommender,
    datamodule: TaskData,
    user: int,
    items: Sequence[int],
    position: int | None = None,
    share_prefix: bool = True,
) -> NDArray[np.float64]:
    """Score candidates for one user with the task `ctr`.

    Args:
        module: a trained method, on the device to run on; its mode is restored afterwards.
        datamodule: the run's datamodule, which builds the prompts.
        user: the user's number, from 1 (`data.raw_user_ids` maps numbers to ids).
        items: the candidates' numbers, from 1.
        position: how many of the user's positives are known, earliest first; all by default.
        share_prefix: False reads all prompts in full; the scores are the same up to rounding.

    Returns:
        Scores (N,), the higher the better, in the order of `items`.

    Raises:
        UserError: the user or an item is unknown, the user has fewer than `position` positives, or the method was
            trained without the task ctr.
    """
    if CTR not in datamodule.prompts:
        tasks = ", ".join(datamodule.prompts)
        raise UserError(f"model={module.name} answers {tasks}: candidates are scored by ctr: train it with tasks=[ctr]")
    questions = candidate_questions(datamodule.data, user, items, position)
    prompts = datamodule.prompts[CTR].set(questions)
    lengths = prompts.prompts.lengths
    scores = np.zeros(len(questions))
    reads_prompts = type(module).forward is LLMRecommender.forward  # else the method overrides how it answers
    prefix = SharedPrefix(module.backbone, len(questions)) if share_prefix and reads_prompts else None
    batching = datamodule.batching
    with evaluating(module), torch.inference_mode():
        for index in token_budget_batches(np.argsort(-lengths, kind="stable"), lengths, batching.token_budget):
            batch = prompts.batch(index, batching.pad_id, "right").to(module.device)
            scores[index] = _scores(module, batch, prefix).double().cpu().numpy()
    return scores


def candidate_questions(data: PreparedData, user: int, items: Sequence[int], position: int | None = None) -> Questions:
    """Return one question per candidate, as if asked after all rows of the data; arguments as for `score_candidates`.

    Raises:
        UserError: as for `score_candidates`.
    """
    item = np.asarray(items, dtype=np.int64).reshape(-1)
    if not 1 <= user <= data.num_users:
        raise UserError(f"user {user}: the data set's users are 1 to {data.num_users}: look it up in raw_user_ids")
    if len(unknown := item[(item < 1) | (item > data.num_items)]):
        raise UserError(
            f"item {unknown[0]}: the data set's items are 1 to {data.num_items}: look it up in raw_item_ids"
        )
    known = len(data.history.of(user))
    if position is not None and not 0 <= position <= known:
        raise UserError(f"position={position}: user {user} has {known} positives: give 0 to {known}")
    users = np.full(len(item), user, dtype=np.int64)
    return pair_questions(data, Pairs(users, item, np.full_like(users, known if position is None else position)))


def pair_questions(data: PreparedData, pairs: UserItems) -> Questions:
    """Return the `ctr` question for each pair, as if asked after all rows of the data set."""
    n = len(pairs.user)
    return Questions(
        row=len(data.every) + np.arange(n),
        user=pairs.user,
        item=pairs.item,
        position=pairs.position,
        timestamp=np.full(n, _LATEST, dtype=np.int64),
        items=pairs.item[:, None],
        target=np.zeros(n, dtype=np.int64),
        label=np.zeros(n, dtype=np.float32),
        texts=({},) * n,
    )


def _scores(module: LLMRecommender, batch: PromptBatch, prefix: SharedPrefix | None) -> Tensor:
    """Return the scores (B,) of right-padded prompts; without a prefix they are read in full."""
    if prefix is None:
        scores: Tensor = module(batch)
        return scores
    embeds = module.embeds(batch)
    slot = None if module.lowrank is None else module.lowrank.state
    state = None if slot is None else slot.current
    tokens = embeds.shape[1]
    alike = tokens if state is None else state.untouched(tokens)

    def window(rows: int, begin: int, end: int) -> None:
        if slot is not None and state is not None:
            slot.current = state.window(rows, begin, end)

    last = prefix.last_states(embeds, batch.attention_mask.sum(1), alike, window)
    return module.answers.read(batch, last)
