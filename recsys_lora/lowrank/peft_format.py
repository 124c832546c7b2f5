"""Write the low-rank updates as an adapter folder that `peft` loads.

An adapter has one A and one P per layer, so a static source is written as it is, a routed one for one task, and a
generated one for one (user, item) pair. A layer with several sources becomes one of their summed rank, with the
scales folded into P, since

    Σ_s scale_s · P_s A_s^T = [scale_1 P_1, scale_2 P_2, ...] [A_1, A_2, ...]^T

All layers are padded with columns of zeros to one rank, the smallest sufficient one among those that vLLM supports:
vLLM does not read a rank per layer.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from recsys_lora.lowrank.inject import Injection
from recsys_lora.lowrank.source import Generated, Routed, Shifted, Static
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, write_json

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ENGINE_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values of vLLM's `max_lora_rank`."""


def export(
    injection: Injection,
    folder: Path,
    base_model: str,
    task: int | None = None,
    pair: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write one adapter, completely or not at all.

    Args:
        injection: the layers to write.
        folder: the adapter's folder; replaced if it exists.
        base_model: hub id or folder of the backbone, for the adapter's config.
        task: the task whose factors of `Routed` sources are written.
        pair: key -> A (in, R) of one (user, item) pair, unscaled, as given to `state.set`.

    Returns:
        The folder, with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        ValueError: a task or a pair is needed but not given.
        UserError: the folder cannot be written, or the rank is larger than engines support.
    """
    updates, rank = of_one_rank(injection, task, pair)
    tensors = {}
    for name, (A, P) in updates.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = A.T.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = P.contiguous()
    conv = any(isinstance(layer.base, Conv1D) for layer in injection.layers.values())
    with atomic_folder(folder) as made:
        save_file(tensors, made / _WEIGHTS, metadata={"format": "pt"})
        write_json(made / _CONFIG, _config(sorted(updates), rank, base_model, conv))
    return folder


def of_one_rank(
    injection: Injection, task: int | None = None, pair: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
    """Return each layer's A (in, R) and P (out, R), float32 on the CPU, and their common R; arguments as for `export`.

    Raises:
        ValueError: as for `factors_of`.
        UserError: the rank is larger than engines support.
    """
    updates = factors_of(injection, task, pair)
    rank = engine_rank(max(A.shape[1] for A, _ in updates.values()))

    def wide(factor: Tensor) -> Tensor:
        return functional.pad(factor, (0, rank - factor.shape[1])).float().cpu()

    return {name: (wide(A), wide(P)) for name, (A, P) in updates.items()}, rank


def factors_of(
    injection: Injection, task: int | None = None, pair: Mapping[str, Tensor] | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each layer's A (in, R) and P (out, R), with the scale in P, by its path; arguments as for `export`.

    Raises:
        ValueError: a task or a pair is needed but not given, or a source has no such factors.
    """
    updates = {}
    for name, layer in injection.layers.items():
        factors = [_factors(source, task, pair) for source in layer.sources]
        updates[name] = torch.cat([A for A, _ in factors], dim=1), torch.cat([P for _, P in factors], dim=1)
    return updates


def engine_rank(rank: int) -> int:
    """Return the smallest rank supported by vLLM that is at least `rank`.

    Raises:
        UserError: vLLM supports none that large.
    """
    for size in ENGINE_RANKS:
        if size >= rank:
            return size
    raise UserError(f"an adapter of rank {rank}: inference engines take {ENGINE_RANKS[-1]} at most: merge it instead")


def _factors(source: Any, task: int | None, pair: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return A (in, R) and scale · P (out, R) of one source."""
    if isinstance(source, Static) and not isinstance(source, Shifted):  # peft cannot add in the bottleneck
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


def _config(modules: Sequence[str], rank: int, base_model: str, conv: bool) -> dict[str, Any]:
    """Return peft's config; alpha = R, as the scale is in P."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "target_modules": list(modules),
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": conv,
        "modules_to_save": None,
        "inference_mode": True,
    }
