"""Any causal language model: a hub id, a local folder, or a GGUF file."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from recsys_lora.llm.gguf import converted
from recsys_lora.llm.source import BackboneSource, PretrainedOptions, folder_sha256, from_pretrained
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import file_sha256

_SECONDS_TO_ANSWER = 10.0

if TYPE_CHECKING:
    import torch

    from recsys_lora.llm.backbone import Backbone


class HubSource(BackboneSource):
    """Any causal language model on the Hugging Face hub; files in its cache are used without the network.

    Args:
        name: the hub id, e.g. `Qwen/Qwen2.5-1.5B-Instruct`.
        revision: branch, tag or commit; a commit makes runs repeatable.
        loading: see `PretrainedOptions`.
    """

    def __init__(self, name: str, revision: str = "main", **loading: Unpack[PretrainedOptions]) -> None:
        super().__init__(**loading)
        self.name = name
        self.revision = revision

    def identity(self) -> dict[str, Any]:
        """Return hub id, revision and the common part."""
        return {"hub": self.name, "revision": self.revision, **self.common_identity()}

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Load from the local cache if it is there, else from the hub.

        Raises:
            UserError: there is no such model or the hub cannot be reached.
        """
        options = self.options(device)
        knob = f"llm.name={self.name}"
        try:
            model, tokenizer = from_pretrained(self._cached(knob), knob, local_files_only=True, **options)
        except UserError:  # not in the cache, or incomplete
            self._ask_hub(knob)
            model, tokenizer = from_pretrained(self.name, knob, revision=self.revision, **options)
        return self.backbone(model, tokenizer, device, self.identity(), self.name)

    def check(self) -> None:
        """Look in the local cache, and ask the hub if the model is not there.

        Raises:
            UserError: there is no such model or the hub cannot be reached.
        """
        knob = f"llm.name={self.name}"
        try:
            self._cached(knob)
        except UserError:
            self._ask_hub(knob)

    def _cached(self, knob: str) -> str:
        """Return the model's folder in the local cache, possibly incomplete; raise a `UserError` if there is none."""
        import huggingface_hub
        from huggingface_hub import errors

        try:
            return huggingface_hub.snapshot_download(self.name, revision=self.revision, local_files_only=True)
        except (errors.LocalEntryNotFoundError, errors.HFValidationError) as error:
            raise UserError(f"{knob}: not in the local cache") from error

    def _ask_hub(self, knob: str) -> None:
        """Ask once whether the hub has the model: transformers would retry every file for half a minute."""
        import huggingface_hub
        from huggingface_hub import errors

        http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of its HTTP client, whichever
        try:
            huggingface_hub.HfApi().model_info(self.name, revision=self.revision, timeout=_SECONDS_TO_ANSWER)
        except errors.RevisionNotFoundError as error:
            raise UserError(f"{knob}: has no revision {self.revision}: set llm.revision=main or another") from error
        except errors.GatedRepoError as error:
            raise UserError(f"{knob}: its terms have to be accepted on the hub, then `hf auth login`") from error
        except errors.RepositoryNotFoundError as error:
            raise UserError(f"{knob}: no such model on the hub (or a private one): check the name") from error
        except (OSError, http_error, errors.HFValidationError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{knob}: not in the local cache, and the hub cannot be asked ({reason}): check the network, or give "
                "llm=folder llm.path=FOLDER"
            ) from error


class _LocalSource(BackboneSource):
    """The base class of sources on the local disk, identified by the checksum of their content.

    Args:
        path: the folder or file.
        loading: see `PretrainedOptions`.
    """

    def __init__(self, path: str, **loading: Unpack[PretrainedOptions]) -> None:
        super().__init__(**loading)
        self.path = Path(path).expanduser().absolute()
        self.name = self.path.name
        self.knob = f"llm.path={self.path}"

    @cached_property
    def _sha256(self) -> str:
        self.check()
        return folder_sha256(self.path) if self.path.is_dir() else file_sha256(self.path)


class FolderSource(_LocalSource):
    """A folder written by `save_pretrained`: weights, config and tokenizer; arguments as for the base class."""

    def check(self) -> None:
        """Look for the model's config.

        Raises:
            UserError: it is not a model folder.
        """
        if not (self.path / "config.json").is_file():
            raise UserError(f"{self.knob}: no model folder (it has no config.json): name one that has")

    def identity(self) -> dict[str, Any]:
        """Return the checksum of the folder's files and the common part; errors as for `check`."""
        return {"folder": self._sha256, **self.common_identity()}

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Load from the folder, never from the network.

        Raises:
            UserError: it is not a model folder, or not of a causal language model.
        """
        return self.from_folder(self.path, self.knob, device, self.name)


class GGUFSource(_LocalSource):
    """A GGUF file, de-quantised once into the cache; arguments as for the base class."""

    def __init__(self, path: str, **loading: Unpack[PretrainedOptions]) -> None:
        super().__init__(path, **loading)
        self.name = self.path.stem

    def check(self) -> None:
        """Look for the file.

        Raises:
            UserError: there is no such file.
        """
        if not self.path.is_file():
            raise UserError(f"{self.knob}: no such file: name a .gguf file")

    def identity(self) -> dict[str, Any]:
        """Return the file's checksum and the common part; errors as for `check`."""
        return {"gguf": self._sha256, **self.common_identity()}

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Load the converted file; convert it first if the cache does not have it.

        Raises:
            UserError: the file cannot be read.
        """
        folder = converted(self._sha256, lambda: self.path)
        return self.from_folder(folder, self.knob, device, f"{self.name} (de-quantised)")
