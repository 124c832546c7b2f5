"""GGUF files, converted once into a folder that loads in a second.

`transformers` reads GGUF, but takes most of a minute, and would keep the weights packed (and several times slower) if
asked for bfloat16 directly. So the file is read in float32, which de-quantises it, and written to the cache as
safetensors with its tokenizer.
"""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_lora.utils.console import progress
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, content_key, disk_errors, home, sweep_temporary
from recsys_lora.utils.locks import locked

_FORMAT = 1
"""Incremented when the conversion changes, so that older folders are rebuilt."""


def converted(sha256: str, file: Callable[[], Path]) -> Path:
    """Return the folder of a converted GGUF file.

    Args:
        sha256: the file's checksum, which names the folder.
        file: returns the file; called only if the cache has no such folder.

    Raises:
        UserError: the file cannot be read as a model, or the disk is full.
    """
    target = home() / "backbones" / content_key({"sha256": sha256, "format": _FORMAT})
    if target.exists():
        return target
    with disk_errors(target), locked(target.with_name(f"{target.name}.lock")):
        if not target.exists():  # another process may have made it meanwhile
            sweep_temporary(target)
            _convert(file(), target)
    return target


def _convert(file: Path, target: Path) -> None:
    with progress(f"converting {file.name} (once)", None, "steps") as advance:
        model, tokenizer = _read(file)
        advance(1, "writing")
        with atomic_folder(target) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        advance(1, "")


def _read(file: Path) -> tuple[Any, Any]:
    import torch
    import transformers

    from recsys_lora.llm.source import without_bars

    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    quiet, bar = without_bars(transformers), reader.tqdm
    reader.tqdm = functools.partial(bar, disable=True)  # this one ignores whether bars are enabled
    try:
        packed = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        # Not AutoTokenizer, which reads the whole file twice more to find out that this is the class.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, NotImplementedError, ImportError) as error:
        raise UserError(f"{file}: cannot be read as a GGUF model ({error}): name another file") from error
    finally:
        quiet()
        reader.tqdm = bar
    # A model read from GGUF counts as quantised and cannot be saved: its weights are copied into a plain one.
    config = type(packed.config)(**{k: v for k, v in packed.config.to_dict().items() if k != "quantization_config"})
    plain = type(packed)(config)
    plain.load_state_dict(packed.state_dict())
    return plain, tokenizer
