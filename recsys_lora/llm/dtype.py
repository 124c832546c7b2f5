"""The dtype in which the frozen backbone computes."""

from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import torch

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


def resolve_dtype(name: DtypeName, device: "torch.device | str") -> "torch.dtype":
    """Return the torch dtype for an option's value.

    `auto` is bfloat16 if the device multiplies bfloat16 matrices natively (CUDA from Ampere on; a CPU with AMX or
    AVX512-BF16), else float32: elsewhere bfloat16 is emulated and several times slower than float32.
    """
    import torch

    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if kind == "cpu" and _cpu_multiplies_bfloat16() else torch.float32


def dtype_name(dtype: "torch.dtype") -> DtypeName:
    """Return the option's value for a torch dtype returned by `resolve_dtype`."""
    return cast("DtypeName", str(dtype).removeprefix("torch."))


def _cpu_multiplies_bfloat16() -> bool:
    """Return whether this CPU has matrix or dot-product instructions for bfloat16."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
