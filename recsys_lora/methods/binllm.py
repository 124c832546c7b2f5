"""BinLLM: collaborative vectors as binary codes, which the prompt holds as plain text; LoRA learns to read them.

The encoder (`cf=binary_mf`) gives codes, the prompt's slots `{user_code}` and `{item_code}` hold them as digits or
dot-decimal. Nothing but the low-rank updates is trained: first on prompts of text alone (`first`, TALLRec), then on
prompts with codes.

Source: BinLLM, ACL 2024, arXiv 2406.03210 (the codes, the prompt, tuning in two steps), with CoLLM's wording.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Unpack, cast

import torch
from torch import nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.methods.codes import CodeFormat, bits_of, check_width, written_codes
from recsys_lora.methods.lora import LoRATuned, Tuned
from recsys_lora.methods.vectors import encode_rows

USER_CODE, ITEM_CODE = "user_code", "item_code"


class BinLLM(LoRATuned):
    """A backbone tuned by LoRA on prompts that hold the user's and the item's code as text.

    Args:
        code: how a code is written: `bits` or `dot_decimal`.
        tuned: what every recommender with LoRA is made with; its encoder gives codes, entries -1 or 1.

    Raises:
        UserError: the encoder gives no codes, or their width is none that `code` can write.
    """

    needs_encoder: ClassVar[bool] = True

    def __init__(self, *, code: CodeFormat = "bits", **tuned: Unpack[Tuned]) -> None:
        super().__init__(**tuned)
        self.code = code
        encoder = cast(CollaborativeEncoder, self.encoder)
        for width in (encoder.user_dim, encoder.item_dim):
            check_width(width, code)
        check_codes(encoder)

    def more_texts(self, data: PreparedData, rows: Rows) -> Iterator[Mapping[str, str]]:
        """Yield each row's user code and item code.

        Raises:
            UserError: the encoder's vectors are no codes.
        """
        encoder = cast(nn.Module, self.encoder)
        users, items = (written_codes(v, self.code) for v in encode_rows(encoder, data, rows))
        for user, item in zip(users, items, strict=True):
            yield {USER_CODE: user, ITEM_CODE: item}


def check_codes(encoder: CollaborativeEncoder) -> None:
    """Refuse an encoder whose vectors are no codes.

    Raises:
        UserError: names the encoder that has some.
    """
    row = torch.ones(1, dtype=torch.long, device=device_of(cast(nn.Module, encoder)))
    with torch.no_grad():
        for vectors in encoder.encode(row, row.new_zeros(1, encoder.history_length), row):
            bits_of(vectors.cpu())
