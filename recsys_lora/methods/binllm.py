"""BinLLM: collaborative vectors as binary codes, written into the prompt as plain text; LoRA learns to read them.

The encoder (`cf=binary_mf`) produces the codes; the prompt's slots `{user_code}` and `{item_code}` contain them as
digits or in dot-decimal notation. Only the low-rank updates are trained: first on text-only prompts (`first`, TALLRec),
then on prompts with codes.

Source: BinLLM, ACL 2024, arXiv 2406.03210 (text-like encoding, the prompt, tuning in two steps), with CoLLM's wording.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of
from recsys_lora.methods.lora import LoRATuned, Tuned
from recsys_lora.methods.vectors import encode_rows
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.examples import ExtraSlots
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import ITEM, USER
from recsys_lora.utils.errors import UserError

CodeFormat = Literal["bits", "dot_decimal"]
_GROUP = 8
"""Bits per number in dot-decimal notation, as in an IP address: 7 to 15 characters for 32 bits."""
_USER_CODE, _ITEM_CODE = "user_code", "item_code"


def bits_of(vectors: Tensor) -> NDArray[np.uint8]:
    """Return the bits (n, D) of codes (n, D): 1 for an entry 1, 0 for an entry -1.

    Raises:
        UserError: an entry has another value.
    """
    if not bool((vectors.abs() == 1).all()):
        raise UserError("the encoder's vectors are no binary codes (entries -1 and 1): choose cf=binary_mf")
    bits: NDArray[np.uint8] = (vectors > 0).numpy().astype(np.uint8)
    return bits


def check_width(width: int, written: CodeFormat) -> None:
    """Reject codes that a format cannot write.

    Raises:
        UserError: the format is dot-decimal and `width` is not a multiple of eight.
    """
    if written == "dot_decimal" and width % _GROUP:
        raise UserError(
            f"model.code=dot_decimal: writes {_GROUP} bits a number, and the codes have {width}: "
            f"make cf.encoder.dim a multiple of {_GROUP}, or model.code=bits"
        )


def written_codes(vectors: Tensor, written: CodeFormat) -> list[str]:
    """Write codes as text, in the order of the bits; the first bit of a group is the most significant.

    Args:
        vectors: codes (n, D), entries -1 or 1, on the CPU.
        written: `bits` (D digits) or `dot_decimal` (D / 8 numbers from 0 to 255).

    Returns:
        One text per row.

    Raises:
        UserError: the vectors are not codes, or their width does not fit the format.
    """
    check_width(vectors.shape[1], written)
    bits = bits_of(vectors)
    if written == "bits":
        return ["".join(map(str, row)) for row in bits.tolist()]
    return [".".join(map(str, row)) for row in np.packbits(bits, axis=1, bitorder="big").tolist()]


class BinLLM(LoRATuned):
    """A backbone tuned by LoRA on prompts that contain the user's and the item's code as text.

    Args:
        code: how a code is written: `bits` or `dot_decimal`.
        tuned: arguments of all recommenders with LoRA; the encoder must produce codes, with entries -1 or 1.

    Raises:
        UserError: the encoder does not produce codes, or `code` cannot write their width.
    """

    needs_encoder: ClassVar[bool] = True
    writes_vectors: ClassVar[bool] = True
    versions = ("collaborative",)
    encoder: CollaborativeEncoder

    def __init__(self, *, code: CodeFormat = "bits", **tuned: Unpack[Tuned]) -> None:
        super().__init__(**tuned)
        self.code = code
        for width in (self.encoder.user_dim, self.encoder.item_dim):
            check_width(width, code)
        _check_codes(self.encoder)

    def worded(self, template: Template) -> Template:
        """Return a task's template with codes as text in place of its soft tokens."""
        return template.remarked({USER: f"{{{_USER_CODE}}}", ITEM: f"{{{_ITEM_CODE}}}"})

    def extra_slots(self, prompts: TaskPrompts, questions: Questions) -> Iterator[ExtraSlots]:
        """Yield each question's user code, and the code of each of its candidates.

        Raises:
            UserError: the encoder's vectors are not codes.
        """
        vectors = encode_rows(self.encoder, prompts.data, questions.pairs())
        users, items = (written_codes(side, self.code) for side in vectors)
        end = 0
        for count in (questions.items > 0).sum(axis=1).tolist():
            begin, end = end, end + count
            yield {_USER_CODE: users[begin], _ITEM_CODE: items[begin:end]}


def _check_codes(encoder: CollaborativeEncoder) -> None:
    """Reject an encoder whose vectors are not codes."""
    row = torch.ones(1, dtype=torch.long, device=device_of(encoder))
    with torch.no_grad():
        for vectors in encoder.encode(row, row.new_zeros(1, encoder.history_length), row):
            bits_of(vectors.cpu())
