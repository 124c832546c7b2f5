"""The frozen language model on the same prompts: what it knows without being told anything about anyone's taste."""

from collections.abc import Mapping
from typing import Any, ClassVar

from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.llm_module import LLMRecommender, Score
from recsys_lora.prompts.template import Template


class ZeroShot(LLMRecommender):
    """Scores without training.

    Args:
        name: what tables call it.
        prompt: the wording.
        score: the logit of "Yes", or that minus the logit of "No".
        backbone: the language model.
        identity: what the run belongs to besides the backbone.
    """

    trains: ClassVar[bool] = False

    def __init__(
        self,
        *,
        name: str,
        prompt: Template,
        score: Score,
        backbone: Backbone,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            name=name, prompt=prompt, batch_rows=1, score=score, optimizer=None, backbone=backbone, identity=identity
        )
