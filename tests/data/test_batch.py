from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys_lora.data.batch import PromptSet
from recsys_lora.prompts.encoded import EncodedPrompts


def prompt_set(lengths, soft=None, titles=None) -> PromptSet:
    """Prompt k holds the tokens 100 k + 1, 100 k + 2, ..."""
    n = len(lengths)
    ids = np.concatenate([100 * k + np.arange(1, length + 1) for k, length in enumerate(lengths)]).astype(np.int32)
    positions = np.zeros((n, 0), dtype=np.int32) if soft is None else np.array(soft, dtype=np.int32)
    starts = None if titles is None else np.array(titles, dtype=np.int32)
    prompts = EncodedPrompts(ids, np.cumsum([0, *lengths]).astype(np.int64), positions, title_starts=starts)
    number = np.arange(n)
    history = np.stack([number, number], axis=1)
    return PromptSet(
        prompts,
        user=number + 1,
        items=number[:, None] + [11, 31],
        history=history,
        label=(number % 2).astype(np.float32),
        target=number % 3,
        answer_tokens=np.minimum(number, np.array(lengths) - 1),
        task=number * 0,
        row=number + 50,
    )


@pytest.mark.parametrize(
    ("padding", "ids", "mask"),
    [
        ("right", [[201, 202, 203], [1, 0, 0]], [[1, 1, 1], [1, 0, 0]]),
        ("left", [[201, 202, 203], [0, 0, 1]], [[1, 1, 1], [0, 0, 1]]),
    ],
)
def test_prompts_are_padded_on_the_side_asked_for(padding, ids, mask):
    batch = prompt_set([1, 2, 3]).batch(np.array([2, 0]), 0, padding)
    assert batch.input_ids.tolist() == ids
    assert batch.attention_mask.int().tolist() == mask


def test_soft_tokens_keep_their_tokens_under_either_padding():
    rows = prompt_set([4, 2], soft=[[0, 3], [1, -1]])
    for padding in ("left", "right"):
        batch = rows.batch(np.array([0, 1]), 0, padding)
        found = [
            [batch.input_ids[row, place].item() for place in places if place >= 0]
            for row, places in enumerate(batch.soft_positions.tolist())
        ]
        assert found == [[1, 4], [102]]


def test_titles_begin_at_the_same_token_under_either_padding():
    rows = prompt_set([4, 2], titles=[3, 1])
    for padding in ("left", "right"):
        batch = rows.batch(np.array([1, 0]), 0, padding)
        assert batch.input_ids[[0, 1], batch.title_start].tolist() == [102, 4]
    assert prompt_set([4, 2]).batch(np.array([0]), 0, "left").title_start is None


def test_everything_of_a_row_stays_together():
    batch = prompt_set([2, 2, 2, 2]).batch(np.array([3, 1]), 0, "right", global_rows=5)
    assert batch.user.tolist() == [4, 2]
    assert batch.item.tolist() == [14, 12]
    assert batch.items.tolist() == [[14, 34], [12, 32]]
    assert batch.target.tolist() == [0, 1]
    assert batch.answer_tokens.tolist() == [1, 1]
    assert batch.answer_places.tolist() == [[0, 1], [1, 1]]
    assert batch.history.tolist() == [[3, 3], [1, 1]]
    assert batch.label.tolist() == [1.0, 1.0]
    assert batch.row.tolist() == [53, 51]
    assert batch.index.tolist() == [3, 1]
    assert (len(batch), batch.global_rows) == (2, 5)


def test_a_batch_moves_to_a_device_as_a_whole():
    moved = prompt_set([1, 2]).batch(np.array([0, 1]), 0, "right").to("meta")
    assert {value.device.type for value in vars(moved).values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert moved.global_rows == 2


def test_the_tokens_of_answers_are_those_at_the_end_under_either_padding():
    rows = replace(prompt_set([4, 2, 5]), answer_tokens=np.array([2, 0, 4]))
    for padding in ("left", "right"):
        batch = rows.batch(np.array([2, 1, 0]), 0, padding)
        row, column = batch.answer_places
        assert row.tolist() == [0, 0, 0, 0, 2, 2]
        assert batch.input_ids[row, column].tolist() == [202, 203, 204, 205, 3, 4]
        assert batch.padding == padding


def test_an_answer_without_a_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one token of a prompt"):
        replace(prompt_set([4, 2]), answer_tokens=np.array([1, 2])).batch(np.array([0, 1]), 0, "right")
