"""Scores of any rows by any method, in the rows' order, each row once whatever the number of processes."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from recsys_lora.cf.inference import evaluating
from recsys_lora.console import progress
from recsys_lora.data.loader import Share
from recsys_lora.data.module import PromptData
from recsys_lora.data.prepared import Rows
from recsys_lora.errors import UserError
from recsys_lora.methods.base import LLMModule
from recsys_lora.methods.llm_module import LLMRecommender


def score_rows(
    module: LLMRecommender, datamodule: PromptData, rows: Rows, shuffle_users: int | None = None, show: bool = True
) -> NDArray[np.float64]:
    """Score rows with a language-model method.

    Where `torch.distributed` runs, each process scores its share and all get all scores; with a sharded backbone each
    scores all rows.

    Args:
        module: the method, on the device where it is to run; its mode is left as it was.
        datamodule: makes the prompts.
        rows: n rows.
        shuffle_users: a seed; the encoder (and what the method writes of its vectors) then sees, for every row, the
            user and history of another user's row, while history and titles stay as they are: what is left of the
            method's score is what it owes to the text and the item.
        show: show progress.

    Returns:
        (n,) scores.
    """
    show = show and own_share().rank == 0
    share = scoring_share(module)
    taste = rows
    if shuffle_users is not None:
        others = rows.take(rows_of_others(rows.user, shuffle_users))
        taste = replace(rows, user=others.user, position=others.position)
    prompts = datamodule.build(rows, show=show, taste=taste)
    loader = datamodule.score_loader(prompts, share)
    places, parts = [], []
    mine = sum(len(batch) for batch in loader.batches)
    label = f"scoring {module.name}"
    with evaluating(module), torch.inference_mode(), progress(label, mine, "rows", show=show) as advance:
        for batch in loader:
            parts.append(module(batch.to(module.device)))
            places.append(batch.place.numpy())
            advance(len(batch), "")
        scores = [torch.cat(parts).double().cpu().numpy()] if parts else []  # read once: nothing waits for the device
    result = np.full(len(rows), np.nan)
    for part_places, part_scores in gathered((places, scores), share):
        if part_places:
            result[np.concatenate(part_places)] = np.concatenate(part_scores)
    return result


def own_share() -> Share:
    """Return this process's part of the work, where `torch.distributed` runs."""
    return Share(distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else Share()


def scoring_share(module: LLMModule) -> Share:
    """Return what this process scores: its part, or everything where all processes have to run the same forwards."""
    return Share() if module.backbone.sharded else own_share()


def rows_of_others(user: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return for every row the index of a row of another user (n,); all rows of a user get the same other's.

    Raises:
        UserError: all rows are one user's.
    """
    users, which, counts = np.unique(user, return_inverse=True, return_counts=True)
    if len(users) < 2:
        raise UserError("users cannot be shuffled: the rows are all of one user: set evaluation.shuffled_rows=0")
    circle = np.random.default_rng(seed).permutation(len(users))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # everyone gets the next one in a circle: nobody gets oneself
    by_user = np.argsort(user, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    turn = np.empty(len(user), dtype=np.int64)
    turn[by_user] = np.arange(len(user)) - np.repeat(first, counts)  # a row's number among its user's rows
    theirs = other[which]
    rows: NDArray[np.int64] = by_user[first[theirs] + turn % counts[theirs]]
    return rows


def gathered(value: tuple[list[Any], list[Any]], share: Share) -> list[tuple[list[Any], list[Any]]]:
    """Return what every process has: the places of its rows and their results."""
    if share.world == 1:
        return [value]
    everyone: list[Any] = [None] * share.world
    distributed.all_gather_object(everyone, value)
    return cast("list[tuple[list[Any], list[Any]]]", everyone)
