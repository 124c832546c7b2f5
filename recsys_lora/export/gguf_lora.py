"""A run's low-rank updates as a GGUF file that llama.cpp loads beside a GGUF of the backbone.

Names, layout and metadata are those that llama.cpp's `convert_lora_to_gguf.py` writes: for each adapted weight
`NAME.lora_a` (R, in) and `NAME.lora_b` (out, R), and `adapter.lora.alpha`, which llama.cpp divides by R. Llamas in GGUF
have the rows of q and k in another order, since llama.cpp rotates neighbouring pairs where transformers rotates halves.
"""

from pathlib import Path
from typing import Any

import gguf
from torch import Tensor

from recsys_lora.export.adapter import Selection, base_model, module_of, update_of, write_prompt
from recsys_lora.lowrank.peft_format import of_one_rank
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.utils.errors import UserError

FILE = "adapter.gguf"
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
}
"""llama.cpp's names of the architectures whose linear maps it leaves as they are, except for Llama's order of rows."""


def write_gguf_lora(recommender: Recommender, folder: Path, selection: Selection) -> None:
    """Write `adapter.gguf` and the prompt beside it.

    Raises:
        UserError: see `update_of`; or the backbone's architecture is not in `ARCHITECTURES`.
    """
    module, update = module_of(recommender), update_of(recommender, selection)
    config = module.backbone.model.config
    if config.model_type not in ARCHITECTURES:
        raise UserError(
            f"to=gguf-lora: writes {', '.join(ARCHITECTURES)}, not {config.model_type}: export to=peft and let "
            "llama.cpp's convert_lora_to_gguf.py try"
        )
    updates, rank = of_one_rank(update.injection, update.task, update.pair)
    _write(folder / FILE, updates, rank, config, base_model(module))
    write_prompt(folder, module, update, selection)


def _write(path: Path, updates: dict[str, tuple[Tensor, Tensor]], rank: int, config: Any, name: str) -> None:
    """Write the updates A (in, R) and P (out, R), by the layers' paths."""
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))  # the scale is in P
    writer.add_name(f"low-rank updates of {name}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for site, (A, P) in updates.items():
        target = names.get_name(site)
        if target is None:
            raise UserError(f"to=gguf-lora: {site} has no name in GGUF: choose model.targets among the linear maps")
        if architecture is gguf.MODEL_ARCH.LLAMA:
            P = as_in_llama_cpp(P, site, config)
        writer.add_tensor(f"{target}.weight.lora_a", A.T.contiguous().numpy())
        writer.add_tensor(f"{target}.weight.lora_b", P.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def as_in_llama_cpp(weight: Tensor, site: str, config: Any) -> Tensor:
    """Return the rows (out, ...) of a Llama's linear map in llama.cpp's order: in q and k, halves become neighbours."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(site.rpartition(".")[2])
    if heads is None:
        return weight
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
