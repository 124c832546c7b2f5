import itertools

import pytest
import torch

from recsys_lora.lowrank import Site
from recsys_lora.methods.cora.generator import WeightGenerator, fitting_query_dim
from recsys_lora.methods.cora.module import shared_factor
from recsys_lora.methods.cora.reader import Attention
from tests.rounding import assert_close

WIDTHS = {"narrow": 12, "wide": 20}
VARIANTS = [
    {"kind": "direct"},
    {"single_key": "separate"},
    *(
        {"input": given, "pooling": pooling, "queries": queries, "normalise": normalise}
        for given, pooling, queries, normalise in itertools.product(
            ["joint", "pair", "user"], ["mean", "per_rank_component"], [None, 1], [True, False]
        )
        if (pooling, queries) != ("per_rank_component", 1)
    ),
]


def generator(user_dim=6, item_dim=10, rank=4, **knobs) -> WeightGenerator:
    torch.manual_seed(0)
    return WeightGenerator(user_dim, item_dim, WIDTHS, rank, **{"query_dim": 16, "dropout": 0.0, **knobs})


def pairs(n=5):
    torch.manual_seed(1)
    return torch.randn(n, 6), torch.randn(n, 10)


def name(knobs):
    return "-".join(f"{key}={value}" for key, value in knobs.items())


@pytest.mark.parametrize("knobs", VARIANTS, ids=name)
def test_a_factor_for_each_width_and_pair(knobs):
    factors = generator(**knobs)(*pairs())
    assert {group: tuple(factor.shape) for group, factor in factors.items()} == {
        "narrow": (5, 12, 4),
        "wide": (5, 20, 4),
    }
    norms = torch.stack([factor.norm(dim=(1, 2)) for factor in factors.values()])
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5) == knobs.get("normalise", True)


@pytest.mark.parametrize("kind", ["queries", "direct"])
def test_weights_of_the_user_alone_are_the_same_for_all_items(kind):
    made = generator(kind=kind, input="user").eval()
    user, item = pairs()
    assert all(torch.equal(a, b) for a, b in zip(made(user, item).values(), made(user, -item).values(), strict=True))
    assert not torch.equal(made(user, item)["wide"], made(-user, item)["wide"])


@pytest.mark.parametrize("knobs", VARIANTS, ids=name)
def test_a_pair_gets_the_same_alone_as_in_company(knobs):
    made = generator(**knobs).eval()
    user, item = pairs()
    together = made(user, item)
    for index in range(5):
        alone = made(user[index : index + 1], item[index : index + 1])
        for group in WIDTHS:
            assert_close(together[group][index], alone[group][0])


@pytest.mark.parametrize("knobs", VARIANTS, ids=name)
def test_every_parameter_gets_a_gradient(knobs):
    made = generator(**knobs)
    factors = made(*pairs())
    torch.manual_seed(2)
    sum((factor * torch.randn_like(factor)).sum() for factor in factors.values()).backward()
    without = [label for label, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 1e-7]
    assert not without


def test_what_is_read_reaches_the_weights():
    for knobs in VARIANTS:
        made = generator(**knobs).eval()
        user, item = pairs(2)
        first = made(user, item)["narrow"]
        assert not torch.allclose(first, made(user.flip(0), item)["narrow"], atol=1e-4)
        of_item = not torch.allclose(first, made(user, item.flip(0))["narrow"], atol=1e-4)
        assert of_item == (knobs.get("input") != "user")


def test_one_key_and_one_query_need_no_attention_weights():
    names = [label for label, _ in generator(input="joint", queries=1).named_parameters()]
    assert not [label for label in names if ".query." in label or ".key." in label]
    names = [label for label, _ in generator(input="pair", queries=2).named_parameters()]
    assert [label for label in names if "cross_attention.key" in label]
    assert [label for label in names if "self_attention.query" in label]


def test_attention_to_one_key_is_what_full_attention_would_give():
    block = generator(input="joint").reader.blocks[0].cross_attention
    full = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        value, bias = block.value.weight, block.value.bias
        full.in_proj_weight[32:].copy_(value)
        full.in_proj_bias.zero_()
        full.in_proj_bias[32:].copy_(bias)
        full.out_proj.weight.copy_(torch.eye(16))
        full.out_proj.bias.zero_()
        queries, key = torch.randn(3, 4, 16), torch.randn(3, 1, 16)
        assert_close(block(queries, key), full(queries, key, key)[0])


def test_attention_to_several_keys_agrees_with_torchs_own():
    block = generator(input="pair").reader.blocks[0].cross_attention.eval()
    full = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    with torch.no_grad():
        full.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        full.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(32)]))
        full.out_proj.weight.copy_(block.output.weight)
        full.out_proj.bias.copy_(block.output.bias)
        queries, keys = torch.randn(3, 4, 16), torch.randn(3, 2, 16)
        assert_close(block(queries, keys), full(queries, keys, keys)[0])


def test_the_rank_decides_the_queries_of_component_pooling():
    assert generator(pooling="per_rank_component", rank=6).reader.queries.shape == (6, 16)
    with pytest.raises(ValueError, match="queries=3 is not rank=4"):
        generator(pooling="per_rank_component", queries=3)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="query_dim=16 is not a multiple of heads=3"):
        generator(heads=3)


@pytest.mark.parametrize(
    ("backbone", "width", "expected"),
    [(134_515_008, 576, 128), (7_000_000_000, 4096, 512), (120_000, 64, 4), (1_500_000_000, 1536, 512)],
)
def test_the_default_width_suits_the_backbone(backbone, width, expected):
    structure = {"user_dim": 64, "item_dim": 64, "widths": {"width": width}, "rank": 16}
    assert fitting_query_dim(backbone, structure) == expected
    with torch.device("meta"):
        made = WeightGenerator(**structure, backbone_parameters=backbone)
    assert made.reader.queries.shape[1] == expected
    assert sum(p.numel() for p in made.parameters()) <= backbone / 10


def test_who_shares_a_factor():
    site = Site("model.layers.3.self_attn.o_proj", "o_proj", 3, 1024, 640)
    assert shared_factor(site, "all") == "width1024"
    assert shared_factor(site, "per_layer") == "layer3_width1024"
    assert shared_factor(site, "per_matrix") == "o_proj_width1024"


def test_attention_over_one_key_in_two_maps_is_that_of_torch():
    torch.manual_seed(3)
    ours = Attention(16, 10, 1, 4, 0.0, "separate")
    theirs = torch.nn.MultiheadAttention(16, 4, kdim=10, vdim=10, batch_first=True)
    with torch.no_grad():
        theirs.v_proj_weight.copy_(ours.value.weight)
        theirs.in_proj_bias[32:].copy_(ours.value.bias)
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    queries, key = torch.randn(5, 3, 16), torch.randn(5, 1, 10)
    assert_close(ours(queries, key), theirs(queries, key, key)[0])


def test_its_dropout_takes_whole_heads():
    torch.manual_seed(4)
    attention = Attention(16, 10, 1, 4, 0.5, "separate").train()
    attention.output = torch.nn.Identity()
    key = torch.randn(200, 1, 10)
    heads = attention(torch.randn(200, 3, 16), key).unflatten(-1, (4, 4))  # (B, K, heads, d)
    whole = attention.value(key).unflatten(-1, (4, 4)).expand_as(heads)
    dropped = (heads == 0).all(-1)
    assert_close(heads, torch.where(dropped.unsqueeze(-1), 0.0, 2 * whole))
    assert abs(dropped.float().mean() - 0.5) < 0.05


def test_the_norms_have_the_epsilon_asked_for():
    made = generator(norm_eps=1e-12, single_key="separate")
    assert {m.eps for m in made.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-12}
    assert all(factor.isfinite().all() for factor in made(*pairs()).values())
