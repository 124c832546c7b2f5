import torch

from recsys_lora.llm.soft_tokens import place_soft_tokens


def test_every_row_gets_its_own_vectors_at_its_own_places():
    torch.manual_seed(0)
    embeds, vectors = torch.randn(3, 5, 4), torch.randn(3, 2, 4)
    positions = torch.tensor([[0, 4], [2, -1], [3, 1]])
    expected = embeds.clone()
    for row, places in enumerate(positions.tolist()):
        for slot, place in enumerate(places):
            if place >= 0:
                expected[row, place] = vectors[row, slot]
    before = embeds.clone()
    assert torch.equal(place_soft_tokens(embeds, positions, vectors), expected)
    assert torch.equal(embeds, before)


def test_gradients_reach_the_vectors_that_were_placed_and_no_others():
    embeds = torch.randn(2, 3, 4, dtype=torch.bfloat16)
    vectors = torch.randn(2, 2, 4, requires_grad=True)
    placed = place_soft_tokens(embeds, torch.tensor([[1, -1], [0, 2]]), vectors)
    assert placed.dtype == torch.bfloat16
    placed.sum().backward()
    assert vectors.grad.tolist() == [[[1.0] * 4, [0.0] * 4], [[1.0] * 4, [1.0] * 4]]
