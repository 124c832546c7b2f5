"""The collaborative encoder alone: the baseline that every method using it has to beat."""

from typing import ClassVar

from recsys_lora.tasks.task import Task


class CollaborativeOnly:
    """Represents a fitted encoder, which answers with its own scores; there is nothing left to train.

    Args:
        name: its name in tables.
    """

    needs_backbone: ClassVar[bool] = False
    needs_encoder: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    def __init__(self, *, name: str) -> None:
        self.name = name

    @classmethod
    def cannot_answer(cls, task: Task) -> str | None:
        """Return why it cannot answer a task; None if it can."""
        return None if task.encoder_answers else "a CF model's scores do not answer it"
