"""What GraphLoRA promises, on a tiny backbone."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.lowrank import Shifted
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.graphlora import ShiftedLoRA
from recsys_lora.methods.lora import LoRA
from recsys_lora.utils.errors import UserError
from tests import jobs
from tests.methods import factory
from tests.methods.asking import batch_of, with_updates
from tests.methods.synthetic import prepared
from tests.methods.test_collm import JOB
from tests.rounding import SUM, assert_close

LORA = vars(LoRA(rank=4, alpha=12.0, targets=factory.ALL, dropout=0.0))


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])


def test_the_graph_has_the_positive_pairs_of_train_alone(world):
    data, encoder = world
    module = factory.graphlora(data, encoder)
    graph = module.graph
    rows = data.rows("train")
    liked = {(u, i) for u, i, y in zip(rows.user, rows.item, rows.label, strict=True) if y == 1}
    found = graph.adjacency.to_dense()[: graph.first_item, graph.first_item :].nonzero().tolist()
    assert {tuple(pair) for pair in found} == liked
    kept = {name for name in trained_state(module) if name.startswith("graph.")}
    assert kept == {f"graph.{name}" for name, _ in graph.named_parameters()}  # checkpoints leave the edges to the data
    assert len(liked) < len(rows) < len(data.interactions)


@pytest.mark.parametrize("prompt", [("<user>", "<item>"), ("<item>", "<user>")], ids=str)
@pytest.mark.parametrize("layer", [0, 1])
def test_the_graphs_vectors_are_added_at_the_two_tokens_of_one_block_and_nowhere_else(world, layer, prompt):
    data, encoder = world
    module = factory.graphlora(data, encoder, **LORA, layer=layer, beta=7.0, prompt=factory.soft_template(*prompt))
    with_updates(module).eval()
    module.calibrate(data, data.rows("train"))
    batch = batch_of(module, data)
    seen = {}
    for name, linear in module.lowrank.layers.items():
        linear.register_forward_hook(lambda _, args, y, name=name: seen.update({name: (args[0], y)}))
    module(batch)
    users, items = encoder.users / module.vector_scale.user, encoder.items / module.vector_scale.item
    nodes = module.graph(users, items)  # tested by itself against messages one by one
    for name, linear in module.lowrank.layers.items():
        (x, y), source = seen[name], linear.sources[0]
        added = y - linear.base(x) - 3.0 * x @ source.A @ source.P.T
        expected = torch.zeros_like(added)
        for b in range(len(batch)):
            places = dict(zip(prompt, batch.soft_positions[b].tolist(), strict=True))
            if module.lowrank.sites[name].block == layer:
                expected[b, places["<user>"]] = 3.0 * 7.0 * source.P @ nodes[batch.user[b]]
                expected[b, places["<item>"]] = 3.0 * 7.0 * source.P @ nodes[21 + batch.item[b]]
        assert_close(added, expected, SUM, size=y)
    assert nodes.abs().max() > 0.01


@pytest.mark.parametrize(("layer", "blocks"), [(0, {0}), ("middle", {1}), ("last", {3}), ("all", {0, 1, 2, 3})])
def test_the_layer_says_which_blocks_take_the_graphs_vectors(layer, blocks):
    sizes = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, num_hidden_layers=4))
    lowrank = ShiftedLoRA(layer=layer).install(model)
    found = {(s.target, s.block) for n, s in lowrank.sites.items() if isinstance(lowrank.layers[n].sources[0], Shifted)}
    assert found == {(target, block) for target in ("q_proj", "v_proj") for block in blocks}
    assert len(lowrank.layers) == 8


@pytest.mark.parametrize("kind", [MF, LightGCN], ids=lambda kind: kind.__name__)
def test_gradients_reach_the_vectors_of_neighbours_through_the_graph(world, kind):
    data, _ = world
    catalogue = Catalogue.from_prepared(data)
    torch.manual_seed(0)
    fitted = kind(catalogue, dim=8).eval()
    felt = {}
    for beta in (0.1, 0.0):
        settings = {"untrained_encoder": lambda: kind(catalogue, dim=8), "graph": {"layers": 1}, "beta": beta}
        module = with_updates(factory.graphlora(data, fitted, **settings)).train()
        batch = batch_of(module, data, rows=1)
        module(batch).sum().backward()
        encoder = module.tuned_encoder
        table = encoder.items.weight.grad if kind is MF else encoder.weight.grad[encoder.first_item :]
        felt[beta] = set((table.abs().sum(-1) > 0).nonzero().flatten().tolist())
    liked = catalogue.train_item[catalogue.train_user == batch.user].tolist()
    assert len(liked) > 1
    if kind is MF:
        assert felt == {0.1: {*liked, int(batch.item)}, 0.0: {int(batch.item)}}
    else:  # its vectors are smoothed themselves, and then travel one edge further
        assert felt[0.1] >= {*liked, int(batch.item)}


def test_what_is_kept_for_scoring_is_renewed_when_a_weight_changes(world):
    data, encoder = world
    module = factory.graphlora(data, encoder).eval()
    with torch.inference_mode():
        before = module.nodes(module.graph)
        assert module.nodes(module.graph) is before
    for changed in (module.graph.maps[0], module.tuned_encoder.users, module.vector_scale.user):
        with torch.no_grad():
            changed.mul_(-1.5)
        with torch.inference_mode():
            kept = module.nodes(module.graph)
        assert_close(kept, module.nodes(module.graph), SUM)  # with gradients nothing is kept
        assert not torch.allclose(kept, before)
        before = kept


def test_what_is_kept_is_renewed_after_a_fused_step_which_counts_no_versions(world):
    data, encoder = world
    module = factory.graphlora(data, encoder)
    with torch.no_grad():
        before = module.eval().nodes(module.graph)
    module.train()
    optimizer = torch.optim.AdamW(module.graph.parameters(), lr=0.1, fused=True)
    module.nodes(module.graph).sum().backward()
    optimizer.step()
    module.eval()
    expected = module.nodes(module.graph).detach()  # with gradients nothing is kept
    with torch.no_grad():
        assert_close(module.nodes(module.graph), expected, SUM)
    assert not torch.equal(before, expected)


def test_an_encoder_that_reads_histories_and_a_block_that_is_not_there_are_refused(world):
    data, encoder = world
    with pytest.raises(UserError, match="layer=2: the backbone's blocks are 0 to 1"):
        factory.graphlora(data, encoder, layer=2)
    with pytest.raises(UserError, match="choose cf=mf or cf=lightgcn"):
        factory.graphlora(data, encoder, history_length=3)


@pytest.mark.parametrize("ablation", ["graphlora", "graphlora_no_graph", "graphlora_all_layers"])
def test_a_whole_job_of_each_ablation(tmp_path, home, ablation):
    tables = jobs.write_tables(tmp_path / "tables", *jobs.own_tables())
    outcome = jobs.run(tmp_path / "run", *JOB[1:], "model=graphlora", *tables, f"ablation={ablation}")
    module = outcome.method.module
    assert (module.graph is None) == (ablation == "graphlora_no_graph")
    assert not any(p.requires_grad for p in outcome.collaborative.encoder.parameters())
    tuned, fitted = module.tuned_encoder.users.weight.cpu(), outcome.collaborative.encoder.users.weight
    assert not torch.equal(tuned, fitted)
    assert [name for name, p in module.lowrank.named_parameters() if name.endswith(".P") and p.abs().sum() > 0]


def test_the_chosen_block_may_have_another_scale(world):
    model = factory.backbone(world[0]).model
    lowrank = ShiftedLoRA(rank=4, alpha=8.0, layer=0, layer_alpha=4.0).install(model)
    scales = {(lowrank.sites[name].block, layer.sources[0].scale) for name, layer in lowrank.layers.items()}
    assert scales == {(0, 1.0), *((block, 2.0) for block, _ in scales if block)}
    assert len(scales) > 1
