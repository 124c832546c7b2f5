"""States after prompts that begin alike, against one forward a prompt."""

import pytest
import torch

from recsys_lora.llm.shared_prefix import SharedPrefix, shared_length
from tests.llm.test_backbone import backbone_of
from tests.lowrank.families import FAMILIES, tiny
from tests.methods.asking import forwards
from tests.rounding import assert_close

LONG = [5, 9, 31, 7, 80, 2, 44, 13, 15, 3, 77]  # longer than Gemma's window of 8
RESTS = [[4, 50, 11, 3], [8], [50, 4], [61, 3, 3, 12, 8]]


def padded(prompts):
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    return ids, lengths


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", [LONG, LONG[:1], []], ids=["long", "one", "none"])
def test_states_are_those_of_each_prompt_alone(family, prefix):
    model = tiny(family)
    backbone = backbone_of(model)
    prompts = [prefix + rest for rest in RESTS]
    ids, lengths = padded(prompts)
    with torch.no_grad():
        expected = torch.cat(
            [model.base_model(input_ids=torch.tensor([prompt])).last_hidden_state[:, -1] for prompt in prompts]
        )
    read = forwards(backbone)
    got = SharedPrefix(backbone, len(RESTS)).last_states(backbone.embed(ids), lengths, ids.shape[1])
    assert_close(got, expected)
    whole = [(len(RESTS), 5)]
    assert read == ([(1, len(prefix)), *whole] if prefix else whole)


@pytest.mark.parametrize(
    ("prompts", "length"),
    [
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2, 3], [1, 2, 3]], 2),  # the last is each one's own
        ([[1, 2], [1, 2, 3, 4]], 1),
        ([[1, 2, 3, 4], [1, 5, 3, 4]], 1),  # what is equal again behind a difference does not count
        ([[1, 2], [3, 2]], 0),
        ([[1], [1, 2]], 0),
    ],
)
def test_the_shared_length_ends_at_the_first_difference(prompts, length):
    ids, lengths = padded(prompts)
    embeds = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))[ids]
    assert shared_length(embeds, lengths, embeds[:1]) == length


@pytest.mark.parametrize(("shift", "length"), [(0.0, 3), (1e-7, 3), (1e-3, 1)])
def test_vectors_that_differ_by_rounding_are_the_same(shift, length):
    embeds = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1)
    embeds[2, 1] *= 1 + shift
    assert shared_length(embeds, torch.tensor([4, 4, 4]), embeds[:1]) == length


@pytest.mark.parametrize(("alike", "shared"), [(99, 11), (11, 11), (4, 4), (0, 0)])
def test_low_rank_layers_are_told_what_is_read_and_bound_what_is_shared(alike, shared):
    backbone = backbone_of(tiny("llama"))
    ids, lengths = padded([LONG + rest for rest in RESTS])
    told, read = [], forwards(backbone)
    SharedPrefix(backbone, len(RESTS)).last_states(
        backbone.embed(ids), lengths, alike, lambda *window: told.append(window)
    )
    assert told == ([(1, 0, shared), (len(RESTS), shared, 16)] if shared else [])
    assert [rows * tokens for rows, tokens in read] == [
        rows * (end - begin) for rows, begin, end in told or [(4, 0, 16)]
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_later_batches_go_on_from_what_was_read_and_read_it_again_where_they_share_less(family):
    backbone = backbone_of(tiny(family))
    batches = [[LONG + rest for rest in RESTS[:2]], [LONG + rest for rest in RESTS[2:]], [LONG + RESTS[0]]]
    batches += [[LONG[:4] + rest for rest in RESTS[:3]], [LONG + RESTS[3]], [[90, 5]], [LONG + RESTS[1]]]
    prefix, read = SharedPrefix(backbone, 99), forwards(backbone)
    for prompts in batches:
        ids, lengths = padded(prompts)
        with torch.no_grad():
            expected = torch.cat([SharedPrefix(backbone, 1).last_states(*alone(backbone, p)) for p in prompts])
        read.clear()
        got = prefix.last_states(backbone.embed(ids), lengths, ids.shape[1])
        assert_close(got, expected)
        sizes = {"first": [(1, 11), (2, 4)], "second": [(2, 5)], "alone": [(1, 4)]}
        sizes |= {"less": [(1, 4), (3, 4)], "kept": [(1, 12)], "other": [(1, 2)], "again": [(1, 8)]}
        assert read == list(sizes.values())[batches.index(prompts)]


def alone(backbone, prompt):
    """Return one prompt's embeddings and length, and that it may be shared whole."""
    return backbone.embed(torch.tensor([prompt])), torch.tensor([len(prompt)]), len(prompt)
