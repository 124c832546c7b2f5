"""Counts, on a CPU, the operations that a step would launch on a device, and how often the host would have to wait.

An operation is a call that reaches a backend and computes or copies something; views and allocations do not count. On
CUDA it launches one or a few kernels. The host waits when a value is read (`.item()`, `.tolist()`, `float(x)`), when
the size of a result depends on values (`nonzero`, a boolean index), and when memory is copied between host and device
with blocking. A CPU makes no such copy, so the calls that would are counted: `.to(device)` of a tensor that is not the
result of an operation, a parameter or a buffer, and tensors made from a list on a named device.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "set_"}
VIEWS = {"_unsafe_view", "_reshape_alias", "detach", "alias", "lift_fresh"}
"""Views, in addition to those that torch marks as such."""
READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
OUTWARD = {"cpu", "tolist"}
MAKERS = {torch.tensor, torch.as_tensor}


class Count:
    """Counts operations and waits while it is entered.

    Args:
        on_device: tensors that would be on the device from the start: parameters and buffers.

    Attributes:
        operations: number of operations by name.
        waits: number of waits of the host, by the name of the call.
    """

    def __init__(self, on_device: Iterable[Tensor] = ()) -> None:
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.on_device = WeakIdKeyDictionary(dict.fromkeys(on_device, True))
        self.on_host = WeakIdKeyDictionary()  # numbers made by Python, such as AdamW's step counts
        self._modes = _Operations(self), _Calls(self)

    def __enter__(self) -> "Count":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def totals(self) -> tuple[int, int]:
        """Return the number of operations and of waits so far."""
        return self.operations.total(), self.waits.total()


class _Operations(TorchDispatchMode):
    """Sees the calls that reach a backend, also in backward passes, which a CPU runs in the same thread."""

    def __init__(self, count: Count) -> None:
        super().__init__()
        self.count = count

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with self:  # in inference mode, operations arrive before they are decomposed
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        name = func.overloadpacket.__name__
        if (name in READS and args[0] not in self.count.on_host) or (name in INDEXING and _boolean(args[1])):
            self.count.waits[name] += 1
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.count.waits[name] += 1
        if not (func.is_view or name in VIEWS or name in ALLOCATIONS):
            self.count.operations[name] += 1
        return func(*args, **kwargs)


def _boolean(indices: Any) -> bool:
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in tree_leaves(indices))


class _Calls(TorchFunctionMode):
    """Sees the calls that would copy between host and device."""

    def __init__(self, count: Count) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._blocks(func, args, kwargs):
            self.count.waits[func.__name__] += 1
        result = func(*args, **kwargs)
        from_host = func is torch.from_numpy or (func in MAKERS and not _on_device(kwargs))
        place = self.count.on_host if from_host else self.count.on_device
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                place[value] = True
        return result

    def _blocks(self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        name = getattr(func, "__name__", "")
        if name in OUTWARD or func in MAKERS:
            return name in OUTWARD or _on_device(kwargs)
        named = any(isinstance(value, torch.device | str) for value in (*args[1:], kwargs.get("device")))
        return name == "to" and named and not kwargs.get("non_blocking") and args[0] not in self.count.on_device


def _on_device(kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call names a device other than "cpu", which is the host."""
    return kwargs.get("device") not in (None, "cpu")
