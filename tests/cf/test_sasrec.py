import math

import pytest
import torch
from torch.nn.functional import layer_norm, linear, relu, scaled_dot_product_attention

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.sasrec import ByteDropout, SASRec
from recsys_lora.utils.errors import UserError
from tests.cf.made_data import checkerboard
from tests.rounding import SUM, assert_close

LENGTH = 6


@pytest.fixture(params=[1, 2])
def encoder(request):
    torch.manual_seed(0)
    made = SASRec(
        Catalogue.from_prepared(checkerboard(12, 9)),
        dim=8,
        history_length=LENGTH,
        blocks=3,
        heads=request.param,
        init_std=0.5,
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        made.items.weight[0] = 0
    return made


def naive(encoder, items, zero=0):
    """One history, all positions through all blocks, heads by a loop; the first `zero` positions hold zero vectors."""
    weights = dict(encoder.named_parameters())
    norm = lambda x, name: layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-8)  # noqa: E731
    lin = lambda x, name: linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])  # noqa: E731
    x = encoder.items.weight[items] * math.sqrt(encoder.user_dim) + encoder.position[LENGTH - len(items) :]
    real = (torch.arange(len(items)) >= zero).unsqueeze(1)
    x = x * real
    for b in range(len(encoder.blocks)):
        name = f"blocks.{b}"
        q = norm(x, f"{name}.norm_query")
        query, key, value = lin(q, f"{name}.query"), lin(x, f"{name}.key"), lin(x, f"{name}.value")
        parts = []
        for columns in torch.arange(encoder.user_dim).chunk(encoder.blocks[b].heads):
            one = (t[:, columns].unsqueeze(0) for t in (query, key, value))
            parts.append(scaled_dot_product_attention(*one, is_causal=True)[0])
        y = norm(q + lin(torch.cat(parts, -1), f"{name}.out"), f"{name}.norm")
        x = (y + lin(relu(lin(y, f"{name}.network.0")), f"{name}.network.3")) * real
    return norm(x, "norm")


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 4, LENGTH])
def test_against_a_naive_forward_without_padding(encoder, length):
    items = torch.randint(1, 10, (5, length))
    padded = torch.cat([torch.zeros(5, LENGTH - length, dtype=torch.int64), items], 1)
    expected = torch.stack([naive(encoder, one)[-1] for one in items])
    assert_close(encoder.user_vectors(torch.ones(5), padded), expected)


@torch.no_grad()
def test_without_history_the_user_is_the_learned_vector(encoder):
    nothing = encoder.user_vectors(torch.tensor([1, 2]), torch.zeros(2, LENGTH, dtype=torch.int64))
    assert_close(nothing, encoder.norm.bias.expand(2, -1), SUM)


@torch.no_grad()
def test_the_user_id_is_not_read(encoder):
    history = torch.tensor([[0, 0, 1, 2, 3, 4]] * 2)
    a, b = (encoder.user_vectors(torch.tensor(users), history) for users in ([1, 5], [3, 2]))
    assert torch.equal(a, b)


def test_heads_must_divide_the_width():
    with pytest.raises(UserError, match="dim=10 cannot be divided among heads=3"):
        SASRec(Catalogue.from_prepared(checkerboard(12, 9)), dim=10, heads=3)


def test_dropout_keeps_the_mean_and_drops_its_share():
    torch.manual_seed(0)
    dropout, x = ByteDropout(0.2), torch.ones(1000, 301)
    y = dropout(x)
    assert (y == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert y.mean().item() == pytest.approx(1.0, abs=0.005)
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(ByteDropout(0.0)(x), x)


@torch.no_grad()
@pytest.mark.parametrize("length", [0, 1, 4, LENGTH])
def test_padding_that_is_read_counts_as_zero_vectors(encoder, length):
    """Against the naive forward with zero vectors in the empty places, which every block sets to zero again."""
    items = torch.randint(1, 10, (5, length))
    padded = torch.cat([torch.zeros(5, LENGTH - length, dtype=torch.int64), items], 1)
    masked = encoder.user_vectors(torch.ones(5), padded)
    encoder.padding = "read"
    expected = torch.stack([naive(encoder, one, zero=LENGTH - length)[-1] for one in padded])
    assert_close(encoder.user_vectors(torch.ones(5), padded), expected, SUM)
    assert torch.equal(masked, encoder.user_vectors(torch.ones(5), padded)) == (length in (0, LENGTH))
