"""What can be adapted, and what is refused."""

from pathlib import Path

import pytest
import torch

from recsys_lora.lowrank import Generated, Routed, Static, inject
from recsys_lora.lowrank.inject import find_sites
from recsys_lora.utils.errors import UserError
from tests.lowrank.families import tiny


def test_unknown_projection_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"GPT2LMHeadModel has no .* q_proj .*c_attn, c_proj, c_fc") as caught:
        inject(tiny("gpt2"), ["q_proj", "c_attn"], lambda site: [])
    assert "\n" not in str(caught.value)


def test_sites_have_their_own_widths() -> None:
    sites = {site.name: site for site in find_sites(tiny("gemma3"))}
    o = sites["model.layers.1.self_attn.o_proj"]
    assert (o.in_features, o.out_features, o.block, o.target) == (48, 32, 1, "o_proj")
    k = sites["model.layers.0.self_attn.k_proj"]
    assert (k.in_features, k.out_features) == (32, 24)
    assert not any("head" in name for name in sites)
    gpt2 = {site.name: site for site in find_sites(tiny("gpt2"))}
    assert (gpt2["transformer.h.0.attn.c_attn"].in_features, gpt2["transformer.h.0.attn.c_attn"].out_features) == (
        32,
        96,
    )


def test_only_the_factors_are_trained_and_kept() -> None:
    model = tiny("llama")
    injection = inject(model, ["q_proj"], lambda s: [Generated("a", s.in_features, s.out_features, 4, 8)])
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in injection.parameters()) == 2 * 32 * 4
    assert len(injection.state_dict()) == 2
    injection.train()
    assert not model.training


def test_second_injection_is_refused() -> None:
    model = tiny("llama")
    inject(model, ["q_proj"], lambda s: [Static(s.in_features, s.out_features, 4, 8)])
    with pytest.raises(ValueError, match="already"):
        inject(model, ["k_proj"], lambda s: [Static(s.in_features, s.out_features, 4, 8)])


def test_wrong_factors_are_refused() -> None:
    model = tiny("llama")
    injection = inject(
        model,
        ["q_proj", "k_proj"],
        lambda s: [Generated(s.target, s.in_features, s.out_features, 4, 8)],
    )
    good = torch.zeros(2, 32, 4)
    with pytest.raises(ValueError, match=r"\['k_proj', 'q_proj'\]"):
        injection.state.set({"q_proj": good})
    with pytest.raises(ValueError, match=r"\(B, 32, 4\)"):
        injection.state.set({"q_proj": good, "k_proj": torch.zeros(2, 32, 5)})
    injection.state.set({"q_proj": good, "k_proj": good})
    with pytest.raises(ValueError, match="factors of 2 pairs were given for 3 samples"):
        model(torch.zeros(3, 4, dtype=torch.long))


def test_routed_layers_need_a_task() -> None:
    model = tiny("llama")
    injection = inject(model, ["q_proj"], lambda s: [Routed(s.in_features, s.out_features, 4, 8, tasks=2)])
    with pytest.raises(ValueError, match="task"):
        model(torch.zeros(3, 4, dtype=torch.long))
    injection.state.set(task=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="2 tasks were given for a batch of 3"):
        model(torch.zeros(3, 4, dtype=torch.long))


def test_one_key_with_two_widths_is_refused() -> None:
    with pytest.raises(ValueError, match="read as"):
        inject(tiny("gemma3"), ["q_proj", "o_proj"], lambda s: [Generated("all", s.in_features, s.out_features, 4, 8)])


def test_saved_factors_load_again(tmp_path: Path) -> None:
    model = tiny("llama")
    injection = inject(model, ["q_proj"], lambda s: [Static(s.in_features, s.out_features, 4, 8)])
    torch.save(injection.state_dict(), tmp_path / "factors.pt")
    injection.remove()
    again = inject(model, ["q_proj"], lambda s: [Static(s.in_features, s.out_features, 4, 8)])
    again.load_state_dict(torch.load(tmp_path / "factors.pt", weights_only=True))
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, injection.state_dict()[name])
