"""Frozen weights in 8 or 4 bits, by bitsandbytes through transformers.

`int8` is LLM.int8() (Dettmers et al., 2022, arXiv 2208.07339, section 3), `nf4` the 4-bit normal float of QLoRA
(Dettmers et al., 2023, arXiv 2305.14314, section 3) without its double quantisation. Only the linear maps inside the
blocks are quantised: embeddings, norms and the head stay in the backbone's dtype.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any, Literal

from recsys_lora.utils.errors import UserError, require

if TYPE_CHECKING:
    import torch

Quantise = Literal["none", "int8", "nf4"]
PACKAGE = "bitsandbytes"


def quantised_options(kind: Quantise, dtype: "torch.dtype", device: "torch.device | str") -> dict[str, Any]:
    """Return the keyword arguments that make `from_pretrained` quantise the weights on their way to the device.

    Args:
        kind: `none` needs no argument.
        dtype: the compute dtype of 4-bit weights.
        device: where the weights go; they cannot be quantised elsewhere and moved.

    Raises:
        UserError: bitsandbytes is not installed, or does not support the type of device.
    """
    if kind == "none":
        return {}
    require("quantised", PACKAGE, by=f"llm.quantise={kind}", otherwise=", or choose llm.quantise=none")
    import torch
    import transformers

    place = torch.device(device)
    library = importlib.import_module(PACKAGE)
    if place.type not in getattr(library, "supported_torch_devices", {"cuda"}):
        raise UserError(
            f"llm.quantise={kind}: {PACKAGE} {library.__version__} has nothing for device {place.type}: install a newer"
            " one, or choose another trainer or llm.quantise=none"
        )
    if place == torch.device("cuda"):
        place = torch.device("cuda", torch.cuda.current_device())
    settings: Any = transformers.BitsAndBytesConfig
    if kind == "int8":
        # It warns at every product of every batch that inputs are cast to float16, which is how LLM.int8() works.
        logging.getLogger(f"{PACKAGE}.autograd._functions").setLevel(logging.ERROR)
        config = settings(load_in_8bit=True)
    else:
        config = settings(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": config, "device_map": {"": place}}
