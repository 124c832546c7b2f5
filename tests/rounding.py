"""How close two ways to the same numbers have to be, on whatever processor they are computed.

A processor's vector width, the number of threads and the rows of a batch choose the kernel, and the kernel the order in
which terms are summed. Each rounding is off by up to eps of the number that was rounded, and a sum of n terms has n of
them one after the other. So a tolerance is a count: `roundings · eps · size`, with the size of the largest number that
was rounded. It is not each entry's own size: what is left of large terms that cancel is as far off as they were.

Values that come out of the same kernel with the same shapes are the same bits, and tests may say so with `torch.equal`:
a layer that adds zero, a run that is resumed, weights that are saved. Those of another batch, padding, order or
implementation are not.
"""

from typing import Any

import numpy as np
import torch

SUM = 64
"""One sum: a product of vectors, a mean, a norm, a softmax; the tests' have up to some hundred terms, whose errors
partly cancel."""
MODEL = 1024
"""A forward of a whole model, backward included: the tests' have two blocks of some ten products, each of up to 128
terms, and norms that divide by less than one. It is 1.2e-4 in float32 and 8 bits of 24: what a wrong mask, row or
factor changes is far above it."""
TRAINING = 16 * MODEL
"""Weights after some steps of an optimiser that divides by the gradients' own size, Adam's, and losses on the way."""


def assert_close(
    found: Any,
    expected: Any,
    roundings: int = MODEL,
    *,
    size: Any = None,
    dtype: torch.dtype = torch.float32,
    what: str = "values",
) -> None:
    """Fail where two tensors, arrays or numbers are further apart than rounding explains.

    Args:
        found: what is tested.
        expected: what it should be, of the same shape.
        roundings: how many, one after the other, a value passes through: `SUM`, `MODEL`, `TRAINING` or a count.
        size: what was rounded, where that is larger than the result: the logits behind a difference of two, say; its
            largest absolute entry counts. None takes `expected`.
        dtype: the coarsest that was computed in; results are often kept in a finer one.
        what: is compared, for the message.
    """
    found, expected = (_tensor(x) for x in (found, expected))
    assert found.shape == expected.shape, f"{what}: shapes {tuple(found.shape)} and {tuple(expected.shape)}"
    if not expected.numel():
        return
    rounded = expected if size is None else _tensor(size)
    unit = torch.finfo(dtype).eps * float(rounded.abs().max())
    off = float((found - expected).abs().max())
    message = f"{what}: off by {off:.3g}, {off / unit if unit else 0:.0f} roundings where {roundings} are allowed"
    assert off <= roundings * unit, message


def _tensor(x: Any) -> torch.Tensor:
    return (x if isinstance(x, torch.Tensor) else torch.from_numpy(np.asarray(x))).detach().double().cpu()
