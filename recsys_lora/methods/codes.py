"""Binary codes as text: digits 0 and 1, or groups of eight bits in decimal, joined by dots as in an IP address.

Source: BinLLM, ACL 2024, arXiv 2406.03210 (text-like encoding). Dot-decimal is its compression: 7 to 15 characters for
32 bits.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.utils.errors import UserError

CodeFormat = Literal["bits", "dot_decimal"]
_GROUP = 8
"""Bits of one number of a dot-decimal text."""


def bits_of(vectors: Tensor) -> NDArray[np.uint8]:
    """Return the bits (n, D) of codes (n, D): 1 for an entry 1, 0 for an entry -1.

    Raises:
        UserError: an entry is something else.
    """
    if not bool((vectors.abs() == 1).all()):
        raise UserError("the encoder's vectors are no binary codes (entries -1 and 1): choose cf=binary_mf")
    bits: NDArray[np.uint8] = (vectors > 0).numpy().astype(np.uint8)
    return bits


def check_width(width: int, written: CodeFormat) -> None:
    """Refuse codes that a format cannot write.

    Raises:
        UserError: dot-decimal, and `width` bits are no multiple of eight.
    """
    if written == "dot_decimal" and width % _GROUP:
        raise UserError(
            f"model.code=dot_decimal: writes {_GROUP} bits a number, and the codes have {width}: "
            f"make cf.encoder.dim a multiple of {_GROUP}, or model.code=bits"
        )


def written_codes(vectors: Tensor, written: CodeFormat) -> list[str]:
    """Write codes as text, the first bit first; of a group, the first bit counts most.

    Args:
        vectors: codes (n, D), entries -1 or 1, on the CPU.
        written: `bits` (D digits) or `dot_decimal` (D / 8 numbers from 0 to 255).

    Returns:
        One text a row.

    Raises:
        UserError: the vectors are no codes, or their width does not suit the format.
    """
    check_width(vectors.shape[1], written)
    bits = bits_of(vectors)
    if written == "bits":
        return ["".join(map(str, row)) for row in bits.tolist()]
    return [".".join(map(str, row)) for row in np.packbits(bits, axis=1, bitorder="big").tolist()]
