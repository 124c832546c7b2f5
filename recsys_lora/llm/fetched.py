"""The named backbones, fetched and verified by this project: small, public, real."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from recsys_lora.assets.fetch import Asset, fetch
from recsys_lora.assets.registry import GEMMA3_270M, QWEN25_CODER_05B, QWEN25_CODER_15B, SMOLLM2_135M
from recsys_lora.llm.gguf import converted
from recsys_lora.llm.source import BackboneSource, PretrainedOptions

if TYPE_CHECKING:
    import torch

    from recsys_lora.llm.backbone import Backbone

Name = Literal["smollm2_135m", "gemma3_270m", "qwen25_coder_0_5b", "qwen25_coder_1_5b"]
ASSETS: dict[str, tuple[Asset, str]] = {
    "smollm2_135m": (SMOLLM2_135M, "SmolLM2-135M-Instruct (4-bit, de-quantised)"),
    "gemma3_270m": (GEMMA3_270M, "Gemma-3-270M (4-bit, de-quantised)"),
    "qwen25_coder_0_5b": (QWEN25_CODER_05B, "Qwen2.5-Coder-0.5B-Instruct (4-bit, de-quantised)"),
    "qwen25_coder_1_5b": (QWEN25_CODER_15B, "Qwen2.5-Coder-1.5B-Instruct (4-bit, de-quantised)"),
}


class FetchedSource(BackboneSource):
    """A GGUF file identified by its checksum, fetched once and converted once.

    Args:
        name: a key of `ASSETS`.
        loading: see `PretrainedOptions`.
    """

    def __init__(self, name: Name, **loading: Unpack[PretrainedOptions]) -> None:
        super().__init__(**loading)
        self.name = name
        self.asset, self.label = ASSETS[name]

    @property
    def sha256(self) -> str:
        """The checksum of the published file."""
        (checksum,) = self.asset.layouts[0].values()
        if checksum is None:
            raise ValueError(f"the asset {self.name} has no checksum")
        return checksum

    def identity(self) -> dict[str, Any]:
        """Return the file's checksum and the common part."""
        return {"gguf": self.sha256, **self.common_identity()}

    def load(self, texts: Sequence[str], device: "torch.device | str") -> "Backbone":
        """Load from the cache; fetch and convert first if it is not there.

        Raises:
            UserError: it cannot be fetched.
        """
        folder = converted(self.sha256, lambda: fetch(self.asset))
        return self.from_folder(folder, f"llm={self.name}", device, self.label)
