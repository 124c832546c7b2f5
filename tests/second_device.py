"""A second device on a machine that has none: its tensors compute on the CPU, and do not mix with the CPU's own.

A tensor there is a shell around a CPU tensor. An operation on tensors of both devices raises `DeviceMismatchError`, as
CUDA does, but for copies and for scalars of the CPU. Values are real, so that whole jobs run, with their training and
their metrics; PyTorch's FakeTensorMode has the same rule, but no values, and with device="cuda" a build of PyTorch for
the CPU ends the process at the first gradient.

PyTorch starts a thread a device at a process's first backward pass, so that the device has to be there before. The
tests that use it stand in files named `on_second_device.py`, which `test_second_device.py` runs in a process each.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry, CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "second"
CPU = torch.device("cpu")
COPIES = {torch.ops.aten.copy_, torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten._foreach_copy_}


class DeviceMismatchError(RuntimeError):
    """An operation was given tensors of both devices."""


class OnSecond(torch.Tensor):
    """A tensor of the second device; `inner` holds its values."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        strided = inner.layout == torch.strided
        places = {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if strided else {}
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), **places, dtype=inner.dtype, device=device(), requires_grad=inner.requires_grad
        )

    def __init__(self, inner):
        self.inner = inner

    def __tensor_flatten__(self):  # with this, `Module.to` keeps a parameter the object that it is
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, size, stride):
        return OnSecond(inner["inner"])

    def tolist(self):
        return self.inner.tolist()

    def __format__(self, specification):
        return self.inner.__format__(specification)

    def __reduce_ex__(self, protocol):  # a checkpoint of it is read back onto the CPU, as with map_location
        return self.inner.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Backend(_DummyBackendModule):
    """What `torch.second` is: random numbers are the CPU's."""

    def get_rng_state(self, device=None):
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, state, device=None):
        pass

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


class _Accelerator(CPUAccelerator):
    def setup_device(self, device):
        pass


class _Factories(TorchDispatchMode):
    """Sees the operations, too, that make a tensor from none."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def device() -> torch.device:
    return torch.device(NAME, 0)


_setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
AcceleratorRegistry.register(NAME, _Accelerator)
StrategyRegistry.register(NAME, SingleDeviceStrategy, device=device())


@contextlib.contextmanager
def second_device() -> Iterator[torch.device]:
    """Have the second device, which Lightning knows as accelerator and strategy `second`."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=...)` makes its copy where it is seen
    try:
        with _Factories():
            yield device()
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given: list[torch.Tensor] = []
    tree_map_only(torch.Tensor, given.append, (args, kwargs))
    there = [tensor for tensor in given if isinstance(tensor, OnSecond)]
    here = [tensor for tensor in given if not isinstance(tensor, OnSecond)]
    if there and operation.overloadpacket not in COPIES and any(tensor.dim() for tensor in here):
        places = ", ".join(f"{tuple(tensor.shape)} on {tensor.device.type}" for tensor in given)
        raise DeviceMismatchError(f"{operation}: expected all tensors on one device, got {places}")
    targets: list[torch.device] = []
    tree_map_only(torch.device, targets.append, (args, kwargs))
    onto_second = targets[0].type == NAME if targets else bool(there)
    if operation is torch.ops.aten.copy_.default:
        onto_second = isinstance(args[0], OnSecond)
    args, kwargs = tree_map_only(torch.device, lambda d: CPU if d.type == NAME else d, (args, kwargs))
    inner_args, inner_kwargs = tree_map_only(OnSecond, lambda tensor: tensor.inner, (args, kwargs))
    if operation.overloadpacket in COPIES:
        inner_kwargs.pop("layout", None)  # the shell of a sparse tensor calls itself strided
    with torch.inference_mode(False), torch.no_grad():  # no shell may be an inference tensor: views of it would not be
        result = operation(*inner_args, **inner_kwargs)
        return _placed(result, there, here, onto_second)


def _placed(result: Any, there: list[OnSecond], here: list[torch.Tensor], onto_second: bool) -> Any:
    """Return an operation's result as tensors of the device where it belongs."""
    if not onto_second:
        return tree_map_only(torch.Tensor, lambda tensor: _own(tensor, [t.inner for t in there]), result)
    known = {id(tensor.inner): tensor for tensor in there}  # an operation in place gives its own tensor back
    return tree_map_only(
        torch.Tensor,
        lambda tensor: known[id(tensor)] if id(tensor) in known else OnSecond(_own(tensor, here)),
        result,
    )


def _own(result: torch.Tensor, sources: list[torch.Tensor]) -> torch.Tensor:
    """Return a copy where `to` the other device has given back the tensor of this one."""
    return result.clone() if any(result is source for source in sources) else result
