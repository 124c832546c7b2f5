"""The mapping against its formula, and whose history it reads."""

import pytest
import torch
from torch import nn

from recsys_lora.methods.ckf.mapping import AttentionPooling, CollaborativeMapping, MappingSpec, MetaNetwork
from recsys_lora.methods.vectors import mean_of_present
from tests.rounding import SUM, assert_close

B, C, L, D, H = 4, 3, 5, 6, 32
PRESENT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)
BRIDGES = ["meta", "low_rank", "shared", "none"]


def inputs(user_dim=D, item_dim=D, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = ((B, user_dim), (B, C, item_dim), (B, L, item_dim))
    return [torch.randn(*shape, generator=draw) for shape in shapes]


def mapping(user_dim=D, item_dim=D, token_std=0.05, **knobs):
    torch.manual_seed(1)
    return CollaborativeMapping(MappingSpec(user_dim, item_dim, H, token_std), **knobs)


def test_the_user_matrix_is_the_formula_s_on_an_example_worked_by_hand():
    meta = MetaNetwork(2, hidden=(2,))
    with torch.no_grad():
        meta.body[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        meta.body[0].bias.copy_(torch.tensor([0.5, 0.0]))
        meta.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]))
        meta.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))
    history = torch.tensor([[[9.0, 9.0], [1.0, 4.0], [3.0, -2.0]]])  # the first is padding: p_u = (2, 1)
    present = torch.tensor([[False, True, True]])
    # ReLU((2 + .5, -1)) = (2.5, 0); W_u = ((2.5, 0 + 1), (5, 0 - 1))
    assert torch.equal(meta.pooled(history, present), torch.tensor([[2.0, 1.0]]))
    assert torch.equal(meta.matrices(history, present), torch.tensor([[[2.5, 1.0], [5.0, -1.0]]]))

    whole = CollaborativeMapping(MappingSpec(2, 2, 2, 1.0), hidden=(2,))
    whole.meta = meta
    with torch.no_grad():
        whole.user_token.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        whole.item_token.weight.copy_(torch.eye(2))
    tokens = whole(torch.tensor([[2.0, -1.0]]), torch.tensor([[[7.0, 8.0]]]), history, present)
    # e_u W_u = (2·2.5 - 5, 2·1 + 1) = (0, 3), mapped to (0, 3); the item's as it is
    assert torch.equal(tokens, torch.tensor([[[0.0, 3.0], [7.0, 8.0]]]))


@pytest.mark.parametrize(("knobs", "linear"), [({}, False), ({"activation": "none"}, True)])
def test_the_mlp_is_linear_without_activation_alone(knobs, linear):
    meta = mapping(**knobs).meta
    with torch.no_grad():
        meta.head.bias.zero_()
        meta.body[0].bias.zero_()
    [_, _, history] = inputs()
    present = torch.ones(B, L, dtype=torch.bool)
    odd = torch.allclose(
        meta.matrices(-history, present), -meta.matrices(history, present), atol=1e-6 if linear else 1e-3
    )
    assert odd == linear


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("bridge", ["meta", "low_rank"])
def test_a_user_s_tokens_depend_on_that_user_s_history_alone(bridge, pooling):
    net = mapping(bridge=bridge, pooling=pooling)
    user, items, history = inputs()
    before = net(user, items, history, PRESENT)
    changed = history.clone()
    changed[1] += 1.0
    changed[~PRESENT] = 7.0  # padding says nothing
    after = net(user, items, changed, PRESENT)
    others = torch.tensor([0, 2, 3])
    assert torch.equal(after[others], before[others])
    assert not torch.allclose(after[1, 0], before[1, 0], atol=1e-4)
    assert torch.equal(after[1, 1:], before[1, 1:])  # items are not personalised here


def test_the_order_and_number_of_padding_do_not_matter_to_attention():
    torch.manual_seed(0)
    pool = AttentionPooling(D)
    vectors = torch.randn(1, 3, D)
    padded = torch.cat([torch.randn(1, 4, D), vectors], dim=1)
    alone = pool(vectors, torch.ones(1, 3, dtype=torch.bool))
    assert_close(pool(padded, torch.arange(7)[None] >= 4), alone, SUM)


def test_the_mean_is_over_present_items_only():
    vectors = torch.tensor([[[100.0], [1.0], [3.0]], [[5.0], [5.0], [5.0]]])
    present = torch.tensor([[False, True, True], [False, False, False]])
    assert mean_of_present(vectors, present).tolist() == [[2.0], [0.0]]


def test_without_history_everyone_gets_the_learned_default_that_starts_at_zero():
    meta = mapping().meta
    [_, _, history] = inputs()
    nobody = torch.zeros(B, L, dtype=torch.bool)
    assert torch.equal(meta.pooled(history, nobody), torch.zeros(B, D))
    nn.init.normal_(meta.no_history)
    assert torch.equal(meta.pooled(history, nobody), meta.no_history.expand(B, -1))
    meta.pooled(history, PRESENT).sum().backward()
    assert torch.equal(meta.no_history.grad, torch.ones(D))  # from the one row without history


def test_a_history_of_length_zero_is_no_history():
    meta = mapping().meta
    assert torch.equal(meta.pooled(torch.zeros(B, 0, D), torch.zeros(B, 0, dtype=torch.bool)), torch.zeros(B, D))


@pytest.mark.parametrize("personalised", [False, True])
@pytest.mark.parametrize("dims", [(D, D), (D, 10), (10, D), (12, 12)])
@pytest.mark.parametrize("bridge", BRIDGES)
def test_every_parameter_gets_a_gradient_whatever_the_widths(bridge, dims, personalised):
    net = mapping(*dims, bridge=bridge, dim=D, personalised_items=personalised, pooling="attention", bridge_rank=2)
    user, items, history = inputs(*dims)
    tokens = net(user, items, history, PRESENT)
    assert tokens.shape == (B, 1 + C, H)
    (tokens * torch.linspace(-1, 1, tokens.numel()).view_as(tokens)).sum().backward()
    assert not [label for label, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("bridge", BRIDGES)
def test_tokens_start_with_the_spread_of_the_backbone_s_embeddings(bridge):
    net = mapping(64, 64, token_std=0.03, bridge=bridge)
    draw = torch.Generator().manual_seed(0)
    tokens = net(
        *(torch.randn(200, *shape, 64, generator=draw) for shape in ((), (2,), (L,))), PRESENT[1].expand(200, -1)
    )
    assert tokens[:, 0].std().item() == pytest.approx(0.03, rel=0.25)
    assert tokens[:, 1:].std().item() == pytest.approx(0.03, rel=0.1)


def test_personalised_items_go_through_the_user_s_matrix():
    net = mapping(personalised_items=True)
    user, items, history = inputs()
    tokens = net(user, items, history, PRESENT)
    matrices = net.meta.matrices(history, PRESENT)
    for b in range(B):
        for c in range(C):
            assert_close(tokens[b, 1 + c], net.item_token(items[b, c] @ matrices[b]), SUM)


def test_the_low_rank_matrix_is_the_identity_and_a_change_of_that_rank():
    meta = mapping(bridge="low_rank", bridge_rank=2).meta
    change = meta.matrices(inputs()[2], PRESENT) - torch.eye(D)
    assert all(torch.linalg.matrix_rank(one.detach(), tol=1e-5) == 2 for one in change)


def test_the_shared_matrix_reads_no_history():
    net = mapping(bridge="shared")
    user, items, history = inputs()
    assert torch.equal(net(user, items, history, PRESENT), net(user, items, -history, ~PRESENT))


def test_pytorchs_start_leaves_every_linear_map_as_it_is_made():
    made = mapping(start="pytorch", hidden=(7,))
    torch.manual_seed(1)
    plain = [nn.Linear(D, 7), nn.Linear(7, D * D), nn.Linear(D, H), nn.Linear(D, H)]
    layers = [made.meta.body[0], made.meta.head, made.user_token, made.item_token]
    for layer, expected in zip(layers, plain, strict=True):
        assert torch.equal(layer.weight, expected.weight)
        assert torch.equal(layer.bias, expected.bias)
    assert not torch.equal(mapping(hidden=(7,)).meta.head.weight, made.meta.head.weight)
