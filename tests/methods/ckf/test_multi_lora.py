"""Which updates each kind puts where, and whose gradients reach them."""

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import Routed, Static
from recsys_lora.methods.ckf.multi_lora import MultiLoRA
from recsys_lora.utils.errors import UserError
from tests.lowrank.families import tiny

S, R = (Static,), (Routed,)
BOTH = (Static, Routed)
KINDS = {
    "multi": {"q_proj": R, "k_proj": S, "v_proj": S, "o_proj": S},
    "shared_only": {"k_proj": S, "v_proj": S, "o_proj": S},
    "specific_only": {"q_proj": R},
    "single": {"q_proj": S, "k_proj": S, "v_proj": S, "o_proj": S},
    "all_matrices": {"q_proj": BOTH, "k_proj": BOTH, "v_proj": BOTH, "o_proj": BOTH},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_updates_in_every_block(kind):
    injection = MultiLoRA(kind, rank=3, alpha=6.0, dropout=0.1).install(tiny("llama"), tasks=4)
    for block in (0, 1):
        sites = {site.target: injection.layers[name] for name, site in injection.sites.items() if site.block == block}
        assert {target: tuple(type(s) for s in layer.sources) for target, layer in sites.items()} == KINDS[kind]
    for layer in injection.layers.values():
        for source in layer.sources:
            assert (source.rank, source.scale, source.dropout) == (3, 2.0, 0.1)
            assert not isinstance(source, Routed) or len(source.A) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_s_update_gets_gradients_from_its_own_samples_and_the_shared_one_from_all(kind):
    model = tiny("llama")
    injection = MultiLoRA(kind, rank=3, alpha=6.0).install(model, tasks=4)
    torch.manual_seed(0)
    for parameter in injection.parameters():
        nn.init.normal_(parameter, std=0.3)
    task, ids = torch.tensor([2, 0, 2, 3]), torch.randint(0, 97, (4, 7))
    injection.state.set(task=task)
    model(ids).logits[task == 2].pow(2).mean().backward()  # as if samples of task 2 alone had a loss
    routed = [s for layer in injection.layers.values() for s in layer.sources if isinstance(s, Routed)]
    static = [s for layer in injection.layers.values() for s in layer.sources if isinstance(s, Static)]
    assert bool(routed) == (kind not in ("shared_only", "single"))
    assert bool(static) == (kind != "specific_only")
    for source in routed:
        for factor in (source.A, source.P):
            assert factor.grad[2].abs().max() > 0
            assert factor.grad[[0, 1, 3]].abs().max() == 0
    for source in static:
        assert source.A.grad.abs().max() > 0

    alone = [source.A.grad.clone() for source in static]
    injection.zero_grad()
    model(ids).logits.pow(2).mean().backward()
    assert all(not torch.allclose(s.A.grad, one) for s, one in zip(static, alone, strict=True))


def test_nothing_to_adapt_is_refused():
    with pytest.raises(UserError, match="name linear maps"):
        MultiLoRA("specific_only", rank=3, alpha=6.0, specific_targets=[]).install(tiny("llama"), tasks=2)
    with pytest.raises(UserError, match="choose targets from"):
        MultiLoRA("multi", rank=3, alpha=6.0).install(tiny("gpt2"), tasks=2)
