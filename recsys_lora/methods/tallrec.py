"""TALLRec: LoRA on text prompts, without collaborative information.

Source: TALLRec, RecSys 2023, arXiv 2305.00447; as CoLLM's authors run it, it is also the first stage of CoLLM.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.lora import LoRATuned, Tuned
from recsys_lora.tasks.module import TaskData, TrainOn


class TALLRec(LoRATuned):
    """A backbone tuned by LoRA on the prompt's text.

    Args:
        train_on: its training questions: see `TaskData`.
        tuned: arguments of all recommenders with LoRA.
    """

    reads_text_alone: ClassVar[bool] = True

    def __init__(self, *, train_on: TrainOn = "rows", **tuned: Unpack[Tuned]) -> None:
        super().__init__(**tuned)
        self.train_on: TrainOn = train_on

    def datamodule(self, data: PreparedData, words: Mapping[str, str], **settings: Any) -> TaskData:
        """Return the run's questions as prompts: see `LLMRecommender.datamodule`."""
        return super().datamodule(data, words, train_on=self.train_on, **settings)
