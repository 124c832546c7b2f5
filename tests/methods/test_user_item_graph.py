"""The graph network against sums over neighbours, node by node, on a graph worked by hand."""

import math

import numpy as np
import pytest
import torch

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.methods.user_item_graph import GraphNetwork
from tests.rounding import SUM, assert_close

USERS, ITEMS, D, R = 3, 3, 4, 2
LIKES = [(1, 1), (1, 2), (2, 1), (1, 1)]  # one pair twice is one edge; user 3 and item 3 stand alone
SEEN = torch.tensor([False, True, True, True])
CATALOGUE = Catalogue(
    USERS, ITEMS, torch.tensor([u for u, _ in LIKES]), torch.tensor([i for _, i in LIKES]), SEEN, SEEN
)
U1, U2, U3, I1, I2, I3 = 1, 2, 3, 5, 6, 7  # users 0 to 3, then items 0 to 3
NEIGHBOURS = {
    U1: {I1: 1 / 2, I2: 1 / math.sqrt(2)},
    U2: {I1: 1 / math.sqrt(2)},
    I1: {U1: 1 / 2, U2: 1 / math.sqrt(2)},
    I2: {U1: 1 / math.sqrt(2)},
}
"""Node -> neighbour -> 1 / root of the product of their degrees; u1 and i1 have two, u2 and i2 one."""


def network(kind: str, layers: int, dropout: float = 0.0) -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(CATALOGUE, D, R, kind=kind, layers=layers, dropout=dropout)


def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(n + 1, D, generator=generator).requires_grad_() for n in (USERS, ITEMS))


def leaky(vector):
    return np.where(vector > 0, vector, 0.2 * vector)


def naive(graph: GraphNetwork, users: torch.Tensor, items: torch.Tensor) -> np.ndarray:
    """Messages from neighbour to node, one by one, in float64."""
    nodes = [vector.double().numpy() for vector in torch.cat([users, items]).detach()]
    maps, product_maps = ([m.detach().double().numpy() for m in part] for part in (graph.maps, graph.product_maps))
    if graph.kind == "ngcf":
        for W, V in zip(maps, product_maps, strict=True):
            new = []
            for n, own in enumerate(nodes):
                messages = [p * (nodes[m] @ W + (nodes[m] * own) @ V) for m, p in NEIGHBOURS.get(n, {}).items()]
                new.append(leaky(own @ W + sum(messages)))
            nodes = new
        h = nodes
    else:
        reached, total = nodes, nodes
        for _ in range(graph.layers):
            zero = np.zeros(D)
            reached = [sum((p * reached[m] for m, p in NEIGHBOURS.get(n, {}).items()), zero) for n in range(len(nodes))]
            total = [a + b for a, b in zip(total, reached, strict=True)]
        h = [vector / (graph.layers + 1) @ maps[0] for vector in total]
    return np.stack([0.1 * vector / np.sqrt((vector**2).sum()) for vector in h])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["lightgcn", "ngcf"])
def test_against_messages_one_by_one(kind, layers):
    graph, (users, items) = network(kind, layers), features()
    got = graph(users, items)
    assert_close(got, naive(graph, users, items), SUM)
    assert_close(got.norm(dim=-1), torch.full((len(got),), 0.1), SUM)


@pytest.mark.parametrize("kind", ["lightgcn", "ngcf"])
def test_a_vector_travels_as_many_edges_as_there_are_layers(kind):
    for layers, reach in ((1, {U1, I1, I2}), (2, {U1, U2, I1, I2})):
        users, items = features()
        network(kind, layers)(users, items)[U1].sum().backward()
        felt = torch.cat([users.grad, items.grad]).abs().sum(-1) > 0
        assert set(felt.nonzero().flatten().tolist()) == reach


@pytest.mark.parametrize("kind", ["lightgcn", "ngcf"])
def test_a_node_without_an_edge_has_what_its_own_vector_gives(kind):
    graph, (users, items) = network(kind, 2), features()
    graph(users, items)[[U3, I3]].sum().backward()
    felt = torch.cat([users.grad, items.grad]).abs().sum(-1) > 0
    assert set(felt.nonzero().flatten().tolist()) == {U3, I3}


@pytest.mark.parametrize("kind", ["lightgcn", "ngcf"])
def test_a_node_of_zero_gives_zero_and_a_gradient_that_is_finite(kind):
    graph, (users, items) = network(kind, 2), features()
    with torch.no_grad():
        users[U3] = 0
    vectors = graph(users, items)
    assert vectors[U3].abs().max() == 0
    vectors.sum().backward()
    assert all(bool(part.grad.isfinite().all()) for part in (users, items, *graph.parameters()))


@pytest.mark.parametrize("kind", ["lightgcn", "ngcf"])
def test_half_precision_around_it_changes_nothing(kind):
    graph, (users, items) = network(kind, 2), features()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(graph(users, items), network(kind, 2)(users, items))
    assert graph(users.bfloat16(), items.bfloat16()).dtype == torch.float32


def test_dropout_acts_in_training_alone():
    graph, both = network("ngcf", 2, dropout=0.5), features()
    assert not torch.equal(graph.train()(*both), graph(*both))
    assert torch.equal(graph.eval()(*both), graph(*both))
