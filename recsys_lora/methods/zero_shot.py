"""The frozen language model on the same prompts, without any training."""

from typing import ClassVar

from recsys_lora.methods.base import LLMRecommender


class ZeroShot(LLMRecommender):
    """Scores without training."""

    trains: ClassVar[bool] = False
    reads_text_alone: ClassVar[bool] = True
