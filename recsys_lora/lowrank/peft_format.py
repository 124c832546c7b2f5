"""Write the low-rank updates as an adapter folder that `peft` loads.

One adapter has one A and one P a layer, so a static source can be written as it is, a routed one for one task, a
generated one for one (user, item) pair. A layer with several sources becomes one of their summed rank, since
Σ_s scale_s · P_s A_s^T = [scale_1 P_1, scale_2 P_2, ...] [A_1, A_2, ...]^T; the scales are written into P.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from recsys_lora.files import atomic_folder, write_json
from recsys_lora.lowrank.inject import Injection
from recsys_lora.lowrank.source import Generated, Routed, Shifted, Static


def export(
    injection: Injection,
    folder: Path,
    base_model: str,
    task: int | None = None,
    pair: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write one adapter, whole or not at all.

    Args:
        injection: the layers to write.
        folder: where to; replaced if it exists.
        base_model: hub id or folder of the backbone, for the adapter's config.
        task: which task's factors of `Routed` sources.
        pair: key -> A (in, R) of one (user, item) pair, unscaled, as it is given to `state.set`.

    Returns:
        The folder, with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        ValueError: a task or a pair is needed and not given.
        UserError: the folder cannot be written.
    """
    tensors, ranks = {}, {}
    for name, layer in injection.layers.items():
        factors = [_factors(source, task, pair) for source in layer.sources]
        A = torch.cat([a for a, _ in factors], dim=1)  # (in, R)
        P = torch.cat([p for _, p in factors], dim=1)  # (out, R)
        ranks[name] = A.shape[1]
        tensors[f"base_model.model.{name}.lora_A.weight"] = A.T.float().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = P.float().cpu().contiguous()
    conv = any(isinstance(layer.base, Conv1D) for layer in injection.layers.values())
    with atomic_folder(folder) as made:
        save_file(tensors, made / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(made / "adapter_config.json", _config(ranks, base_model, conv))
    return folder


def _factors(source: Any, task: int | None, pair: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return A (in, R) and scale · P (out, R) of one source."""
    if isinstance(source, Static) and not isinstance(source, Shifted):  # peft knows no addition in the bottleneck
        return source.A.detach(), source.scale * source.P.detach()
    if isinstance(source, Routed):
        if task is None:
            raise ValueError("a routed source is exported for one task: say which")
        return source.A[task].detach(), source.scale * source.P[task].detach()
    if isinstance(source, Generated):
        if pair is None:
            raise ValueError("a generated source is exported for one pair: give its factors")
        return pair[source.key].detach(), source.generated_scale * source.P.detach()
    raise ValueError(f"{type(source).__name__} has no factors that peft knows")


def _config(ranks: Mapping[str, int], base_model: str, conv: bool) -> dict[str, Any]:
    """Return peft's description; alpha = R everywhere, as the scale is in P."""
    common = Counter(ranks.values()).most_common(1)[0][0]
    other = {name: rank for name, rank in ranks.items() if rank != common}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "target_modules": sorted(ranks),
        "r": common,
        "lora_alpha": common,
        "rank_pattern": other,
        "alpha_pattern": other,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": conv,
        "inference_mode": True,
    }
