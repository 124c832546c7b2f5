"""GGUF adapters hold what peft's hold, under llama.cpp's names and in its order of rows."""

import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recsys_lora.export.export import export
from recsys_lora.export.gguf_lora import FILE
from recsys_lora.utils.errors import UserError
from tests.export.test_export import ITEM, USER, asked_for, plain
from tests.llm.gguf_file import write_llama

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""What llama.cpp calls a block's linear maps (gguf-py/gguf/tensor_mapping.py)."""


def neighbours(rows, heads):
    """Put the rows of each head's two halves next to each other, one by one."""
    size = rows.shape[0] // heads
    order = [head * size + half * size // 2 + i for head in range(heads) for i in range(size // 2) for half in (0, 1)]
    return rows[order]


@pytest.mark.parametrize("name", ["cora", "ckf", "tallrec", "collm"])
def test_tensors_are_those_of_the_peft_adapter(loaded, tmp_path, name):
    recommender = loaded(name)
    config = recommender.run.method.module.backbone.model.config
    export(recommender, "peft", tmp_path / "peft", asked_for(name))
    export(recommender, "gguf-lora", tmp_path / "gguf", asked_for(name))
    expected = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    reader = gguf.GGUFReader(tmp_path / "gguf" / FILE)
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert len(found) == len(expected) > 0
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, value in expected.items():
        _, _, _, _, block, *site, factor, _ = key.split(".")  # base_model.model.model.layers.0.self_attn.q_proj...
        target = f"blk.{block}.{NAMES['.'.join(site)]}.weight.{factor.lower()}"
        rows = neighbours(value, heads[site[-1]]) if factor == "lora_B" and site[-1] in heads else value
        assert np.array_equal(found[target], rows.numpy()), key
    rank = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["r"]
    assert {tensor.shape[1] for tensor in reader.tensors if tensor.name.endswith("lora_a")} == {rank}
    fields = {key: reader.fields[key].contents() for key in ("general.architecture", "general.type", "adapter.type")}
    assert fields == {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    assert reader.fields["adapter.lora.alpha"].contents() == rank
    texts = [(tmp_path / kind / "prompt.json").read_text() for kind in ("peft", "gguf")]
    assert texts[0] == texts[1]
    assert (tmp_path / "gguf" / "prompt_embeds.safetensors").exists() == (name in ("ckf", "collm"))


def test_another_architecture_is_refused(loaded, tmp_path, monkeypatch):
    recommender = loaded("tallrec")
    monkeypatch.setattr(recommender.run.method.module.backbone.model.config, "model_type", "gpt2")
    with pytest.raises(UserError, match=r"to=gguf-lora: writes llama, .*, not gpt2: export to=peft"):
        export(recommender, "gguf-lora", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["tallrec", "cora"])
def test_llama_cpp_gives_the_runs_score(loaded, tmp_path, name):
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    recommender = loaded(name)
    export(recommender, "gguf-lora", tmp_path / "gguf", asked_for(name))
    backbone = recommender.run.method.module.backbone
    write_llama(tmp_path / "backbone.gguf", plain(recommender), backbone.tokenizer)
    asked = json.loads((tmp_path / "gguf" / "prompt.json").read_text())
    scores = []
    for adapter in (None, str(tmp_path / "gguf" / FILE)):
        model = llama_cpp.Llama(
            str(tmp_path / "backbone.gguf"), lora_path=adapter, n_ctx=512, logits_all=True, verbose=False, n_threads=1
        )
        model.eval(asked["input_ids"])
        last = torch.tensor(model.scores[len(asked["input_ids"]) - 1])
        scores.append(float(last[asked["answers"]["Yes"]] - last[asked["answers"]["No"]]))
    [expected] = recommender.score([(USER, ITEM)])["score"]
    assert abs(scores[1] - expected) < 1e-3
    assert abs(scores[0] - expected) > 4 * abs(scores[1] - expected)  # the backbone alone gives another score
