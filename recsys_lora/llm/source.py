"""The sources of a backbone: the options of the `llm` config group."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from safetensors import SafetensorError, safe_open

from recsys_lora.llm.dtype import DtypeName, resolve_dtype
from recsys_lora.llm.quantised import Quantise, quantised_options
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import file_sha256

if TYPE_CHECKING:
    import torch

    from recsys_lora.llm.backbone import Backbone

Attention = Literal["auto", "sdpa", "eager", "flash_attention_2"]
Compiled = bool | Literal["reduce-overhead"]
"""Whether decoder blocks are compiled, and whether CUDA graphs are recorded, too."""


class LoadingOptions(TypedDict, total=False):
    """How any model is loaded and run.

    Attributes:
        dtype: the dtype of the frozen weights and their products; `auto` is bfloat16 if the device is fast at it.
        attention: the attention implementation of transformers; `auto` lets it choose, and adapts torch's own to
            prompts (see `recsys_lora.llm.attention`).
        chat_template: wrap prompts in the model's chat template.
        gradient_checkpointing: keep one state per block and recompute the rest in the backward pass.
        compiled: compile the decoder blocks, and record CUDA graphs (see `recsys_lora.llm.compiling`).
    """

    dtype: DtypeName
    attention: Attention
    chat_template: bool
    gradient_checkpointing: bool
    compiled: Compiled


class PretrainedOptions(LoadingOptions, total=False):
    """`LoadingOptions` for pretrained weights, which may be quantised.

    Attributes:
        quantise: keep the blocks' linear maps in 8 or 4 bits; `dtype` then applies to everything else.
    """

    quantise: Quantise


class BackboneSource:
    """The base class of all sources: see `PretrainedOptions` for its arguments.

    Attributes:
        name: the model's name, for messages and tables.

    Raises:
        UserError: both `compiled` and `gradient_checkpointing` are set.
    """

    name: str

    def __init__(
        self,
        dtype: DtypeName = "auto",
        attention: Attention = "auto",
        chat_template: bool = False,
        gradient_checkpointing: bool = False,
        quantise: Quantise = "none",
        compiled: Compiled = False,
    ) -> None:
        if compiled and gradient_checkpointing:
            raise UserError("compiled and gradient_checkpointing exclude each other: set one of them to false")
        self.dtype = dtype
        self.attention = attention
        self.chat_template = chat_template
        self.gradient_checkpointing = gradient_checkpointing
        self.quantise = quantise
        self.compiled = compiled

    def identity(self) -> dict[str, Any]:
        """Return what artifacts and checkpoints depend on, JSON-serialisable, without loading the model."""
        raise NotImplementedError

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Load the backbone onto a device.

        Args:
            texts: the data's titles; only the tiny model uses them, to train its tokenizer.
            device: the target device.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Reject what cannot be loaded, as far as that shows at once: nothing by default.

        Raises:
            UserError: it cannot be loaded.
        """

    def common_identity(self) -> dict[str, Any]:
        """Return the part of the identity that all sources have."""
        quantised = {} if self.quantise == "none" else {"quantise": self.quantise}
        return {"dtype": self.dtype, "chat_template": self.chat_template, **quantised}

    def options(self, device: "torch.device | str") -> dict[str, Any]:
        """Return the keyword arguments of `from_pretrained`.

        Raises:
            UserError: the weights cannot be quantised here.
        """
        more = {} if self.attention == "auto" else {"attn_implementation": self.attention}
        dtype = resolve_dtype(self.dtype, device)
        return {"dtype": dtype, **more, **quantised_options(self.quantise, dtype, device)}

    def from_folder(self, folder: Path, knob: str, device: "torch.device | str", label: str) -> "Backbone":
        """Load a folder written by `save_pretrained`, without the network.

        Args:
            folder: the folder.
            knob: the config entry to name in an error, e.g. `llm.path=...`.
            device: the target device.
            label: the model's name in tables.

        Raises:
            UserError: as for `from_pretrained` and `backbone`.
        """
        identity = self.identity()
        model, tokenizer = from_pretrained(str(folder), knob, local_files_only=True, **self.options(device))
        return self.backbone(model, tokenizer, device, identity, label)

    def backbone(
        self, model: Any, tokenizer: Any, device: "torch.device | str", identity: dict[str, Any], label: str
    ) -> "Backbone":
        """Wrap a loaded model and check that its scores can be trusted.

        Raises:
            UserError: they cannot, or the model cannot be compiled here.
        """
        from recsys_lora.llm.attention import attend_to_prompts
        from recsys_lora.llm.backbone import Backbone
        from recsys_lora.llm.compiling import compile_blocks
        from recsys_lora.llm.probe import check_backbone

        placed = model
        if self.quantise == "none":
            placed = model.to(device)
        else:
            label = f"{label}, {self.quantise}"
        if self.attention == "auto":
            attend_to_prompts(placed)
        made = Backbone(placed, tokenizer, identity, label, self.chat_template, self.gradient_checkpointing)
        check_backbone(made)
        if self.compiled:
            compile_blocks(placed, device, self.compiled)
            made.graphs = self.compiled == "reduce-overhead"
        return made


def from_pretrained(place: str, knob: str, **options: Any) -> tuple[Any, Any]:
    """Load model and tokenizer by hub id or folder.

    Args:
        place: hub id or folder.
        knob: the config entry to name in an error, e.g. `llm.name=...`.
        options: for `AutoModelForCausalLM.from_pretrained`; `revision` and `local_files_only` for the tokenizer too.

    Raises:
        UserError: there is no such model, it is not a causal language model, it lacks weights or stores integers
            instead, it needs custom code, or it cannot be reached.
    """
    import transformers

    shared = {key: options[key] for key in ("revision", "local_files_only") if key in options}
    models: Any = transformers.AutoModelForCausalLM  # its annotation lacks `output_loading_info`
    quiet = without_bars(transformers)
    try:
        model, found = models.from_pretrained(place, trust_remote_code=False, output_loading_info=True, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False, **shared)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{knob}: the backbone cannot be loaded: {reason}") from error
    finally:
        quiet()
    if missing := sorted(found["missing_keys"]):  # the library would initialise them at random
        raise UserError(
            f"{knob}: the backbone lacks {len(missing)} of its tensors, {missing[0]} among them: get its files again"
        )
    if coded := _coded_weights(Path(place), model):
        raise UserError(
            f"{knob}: the backbone keeps {coded} as whole numbers, and its config does not say what they stand for: "
            "get weights in floating point, and set llm.quantise"
        )
    return model, tokenizer


def _coded_weights(folder: Path, model: Any) -> str | None:
    """Return a parameter stored as integers, as in quantised models, without a config that explains it."""
    if hasattr(model.config, "quantization_config"):
        return None
    names: set[str] = {name for name, _ in model.named_parameters()}
    names |= {name.removeprefix(f"{model.base_model_prefix}.") for name in names}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in names & {*file.keys()}:
                if not file.get_slice(name).get_dtype().startswith(("F", "BF")):
                    return name
    return None


def without_bars(transformers: Any) -> Callable[[], None]:
    """Disable the library's progress bars, which do not check for a terminal; return what restores them."""
    logging = transformers.utils.logging
    if not logging.is_progress_bar_enabled():
        return lambda: None
    logging.disable_progress_bar()
    return lambda: logging.enable_progress_bar()


_MODEL_FILES = (
    *("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "*.tiktoken"),
    "additional_chat_templates/*.jinja",
)
"""What transformers reads from a model folder: configs, weights, vocabularies, chat templates."""


def folder_sha256(folder: Path) -> str:
    """Return one SHA-256 for a model folder's files, by name and content."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)}):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
