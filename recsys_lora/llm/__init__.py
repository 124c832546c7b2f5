"""The language model: loaded from anywhere, frozen, scored through chosen rows of its head."""

from recsys_lora.llm.fetched import FetchedSource
from recsys_lora.llm.pretrained import FolderSource, GGUFSource, HubSource
from recsys_lora.llm.source import BackboneSource
from recsys_lora.llm.tiny import TinySource

__all__ = ["BackboneSource", "FetchedSource", "FolderSource", "GGUFSource", "HubSource", "TinySource"]
