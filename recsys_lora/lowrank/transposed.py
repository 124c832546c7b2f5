"""Transpose, cast and copy of a factor in one operation, and likewise of its gradient."""

from typing import Any

import torch
from torch import Tensor


def transposed(factor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return P^T (R, out) of P (out, R) in a dtype, contiguous.

    With a copy of P^T autograd forms its gradient as u^T dy, which is faster than (dy^T u)^T.
    """
    made: Tensor = _Transposed.apply(factor, dtype)  # type: ignore[no-untyped-call]
    return made


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factor: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = factor.dtype
        return _transposed(factor, dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _transposed(grad, ctx.dtype), None


def _transposed(factor: Tensor, dtype: torch.dtype) -> Tensor:
    if factor.dtype == dtype:
        return factor.T.contiguous()
    return factor.T.to(dtype, memory_format=torch.contiguous_format)
