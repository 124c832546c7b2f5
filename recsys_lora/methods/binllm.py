"""BinLLM: collaborative vectors as binary codes, which the prompt holds as plain text; LoRA learns to read them.

The encoder (`cf=binary_mf`) gives codes, the prompt's slots `{user_code}` and `{item_code}` hold them as digits or
dot-decimal. Nothing but the low-rank updates is trained: first on prompts of text alone (`first`, TALLRec), then on
prompts with codes.

Source: BinLLM, ACL 2024, arXiv 2406.03210 (the codes, the prompt, tuning in two steps), with CoLLM's wording.
"""

from collections.abc import Iterator
from typing import ClassVar, Unpack

import torch

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of
from recsys_lora.methods.codes import CodeFormat, bits_of, check_width, written_codes
from recsys_lora.methods.lora import LoRATuned, Tuned
from recsys_lora.methods.vectors import encode_rows
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.examples import ExtraSlots
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import ITEM, USER, Version

_USER_CODE, _ITEM_CODE = "user_code", "item_code"


class BinLLM(LoRATuned):
    """A backbone tuned by LoRA on prompts that hold the user's and the item's code as text.

    Args:
        code: how a code is written: `bits` or `dot_decimal`.
        tuned: what every recommender with LoRA is made with; its encoder gives codes, entries -1 or 1.

    Raises:
        UserError: the encoder gives no codes, or their width is none that `code` can write.
    """

    needs_encoder: ClassVar[bool] = True
    writes_vectors: ClassVar[bool] = True
    versions: ClassVar[tuple[Version, ...]] = ("collaborative",)
    encoder: CollaborativeEncoder

    def __init__(self, *, code: CodeFormat = "bits", **tuned: Unpack[Tuned]) -> None:
        super().__init__(**tuned)
        self.code = code
        for width in (self.encoder.user_dim, self.encoder.item_dim):
            check_width(width, code)
        _check_codes(self.encoder)

    def worded(self, template: Template) -> Template:
        """Return a task's wording with codes as text in the places of its soft tokens."""
        return template.remarked({USER: f"{{{_USER_CODE}}}", ITEM: f"{{{_ITEM_CODE}}}"})

    def extra_slots(self, prompts: TaskPrompts, questions: Questions) -> Iterator[ExtraSlots]:
        """Yield each question's user code, and the code of each of its candidates.

        Raises:
            UserError: the encoder's vectors are no codes.
        """
        vectors = encode_rows(self.encoder, prompts.data, questions.pairs())
        users, items = (written_codes(side, self.code) for side in vectors)
        end = 0
        for count in (questions.items > 0).sum(axis=1).tolist():
            begin, end = end, end + count
            yield {_USER_CODE: users[begin], _ITEM_CODE: items[begin:end]}


def _check_codes(encoder: CollaborativeEncoder) -> None:
    """Refuse an encoder whose vectors are no codes.

    Raises:
        UserError: names the encoder that has some.
    """
    row = torch.ones(1, dtype=torch.long, device=device_of(encoder))
    with torch.no_grad():
        for vectors in encoder.encode(row, row.new_zeros(1, encoder.history_length), row):
            bits_of(vectors.cpu())
