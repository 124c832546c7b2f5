"""TALLRec: LoRA on text prompts, with nothing collaborative in them.

Source: TALLRec, RecSys 2023, arXiv 2305.00447; as CoLLM's authors run it, it is also the first stage of CoLLM.
"""

from typing import Unpack

from recsys_lora.methods.llm_module import LLMRecommender, Shared
from recsys_lora.methods.lora import LoRA


class TALLRec(LLMRecommender):
    """A backbone tuned by LoRA on what the prompt says.

    Args:
        lora: the low-rank updates.
        shared: what every recommender is made with.
    """

    def __init__(self, *, lora: LoRA, **shared: Unpack[Shared]) -> None:
        super().__init__(**shared)
        self.lowrank = lora.install(self.backbone.model)

    def release(self) -> None:
        """Give the backbone its own linear maps back."""
        self.lowrank.remove()
