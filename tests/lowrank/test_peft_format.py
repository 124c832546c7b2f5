"""Exported adapters give the same outputs in peft; peft's own adapters give the same values and gradients here."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from recsys_lora.lowrank import Generated, Site, Source, Static, inject
from recsys_lora.lowrank.peft_format import engine_rank, export
from recsys_lora.utils.errors import UserError
from tests.lowrank.families import ALL, FAMILIES, randomise, tiny
from tests.lowrank.test_layer import ALPHA, TASKS, B, R, T, injected
from tests.rounding import assert_close


@pytest.mark.parametrize("kind", ["static", "routed", "generated", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_gives_the_same_outputs(family: str, kind: str, tmp_path: Path) -> None:
    model, injection, factors = injected(family, kind)
    ids = torch.randint(0, 97, (B, T))
    task, pair = 2, {key: factor[1].detach() for key, factor in factors.items()}
    folder = export(injection, tmp_path / "adapter", "tiny", task=task, pair=pair)
    injection.state.set({key: a.expand(B, -1, -1) for key, a in pair.items()}, torch.full((B,), task))
    with torch.no_grad():
        ours = model(ids).logits
        theirs = PeftModel.from_pretrained(tiny(family), str(folder))(input_ids=ids).logits
    assert_close(ours, theirs)
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_mixed_ranks_become_one_that_engines_take(tmp_path: Path) -> None:
    def make(site: Site) -> list[Source]:
        rank = 2 if site.target == "q_proj" else 5
        return [Static(site.in_features, site.out_features, rank, 8.0)]

    model = tiny("llama")
    injection = inject(model, ["q_proj", "v_proj", "o_proj"], make)
    randomise(injection)
    folder = export(injection, tmp_path / "adapter", "tiny")
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {min(value.shape) for value in tensors.values()} == {8}
    ids = torch.randint(0, 97, (B, T))
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(tiny("llama"), str(folder))(input_ids=ids).logits
        assert_close(model(ids).logits, theirs)


def test_static_equals_peft_in_values_and_gradients() -> None:
    config = LoraConfig(r=R, lora_alpha=ALPHA, target_modules=list(ALL), lora_dropout=0.0, bias="none")
    theirs = get_peft_model(tiny("llama"), config)
    model = tiny("llama")
    injection = inject(model, ALL, lambda s: [Static(s.in_features, s.out_features, R, ALPHA)])
    randomise(injection)
    pairs = []
    for name, layer in injection.layers.items():
        source, peft_layer = layer.sources[0], theirs.base_model.model.get_submodule(name)
        assert isinstance(source, Static)
        a, b = peft_layer.lora_A["default"].weight, peft_layer.lora_B["default"].weight
        a.data.copy_(source.A.T)
        b.data.copy_(source.P)
        pairs.append((source, a, b))
    ids = torch.randint(0, 97, (B, T))
    ours_out, theirs_out = model(ids).logits, theirs(input_ids=ids).logits
    assert_close(ours_out, theirs_out)
    ours_out.square().mean().backward()
    theirs_out.square().mean().backward()
    for source, a, b in pairs:
        assert_close(source.A.grad, a.grad.T)
        assert_close(source.P.grad, b.grad)


def test_start_is_peft_s_start() -> None:
    torch.manual_seed(0)
    source = Static(400, 8, 16, 32)
    bound = 1 / 400**0.5  # kaiming-uniform with a = sqrt(5)
    assert source.P.abs().max() == 0
    assert 0.95 * bound < source.A.abs().max() <= bound


@pytest.mark.parametrize(("rank", "size"), [(1, 8), (8, 8), (9, 16), (300, 320), (512, 512)])
def test_the_rank_is_the_next_that_engines_take(rank: int, size: int) -> None:
    assert engine_rank(rank) == size


def test_a_rank_that_no_engine_takes_is_refused() -> None:
    with pytest.raises(UserError, match="rank 513: inference engines take 512 at most"):
        engine_rank(513)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    _, routed, _ = injected("llama", "routed")
    with pytest.raises(ValueError, match="task"):
        export(routed, tmp_path / "a", "tiny")
    model = tiny("llama")
    generated = inject(model, ["q_proj"], lambda s: [Generated("a", s.in_features, s.out_features, R, ALPHA)])
    with pytest.raises(ValueError, match="pair"):
        export(generated, tmp_path / "a", "tiny")
    assert TASKS == 4
    assert not (tmp_path / "a").exists()
