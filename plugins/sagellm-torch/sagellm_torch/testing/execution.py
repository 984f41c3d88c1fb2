"""The one function that every operator of the device passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload

from .device import SimDevice
from .observation import Direction
from .operator_names import COPY_TO_DEVICE, COPY_TO_HOST, operator_name
from .tensor import SimTensor

aten = torch.ops.aten
#: Composites for which devices have kernels of their own; others are taken apart.
_WHOLE = frozenset({"linear", "matmul", "scaled_dot_product_attention", "rms_norm", "layer_norm"})
#: Operators that give memory as it is.
_UNWRITTEN = frozenset({"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"})
_COPIES = frozenset({aten.copy_.default, aten._to_copy.default, aten._copy_from.default})
#: Operators in which torch lets a host's indices pass, and copies them.
_INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
#: What the host reads when it asks for a size that depends on values.
_SIZE_BYTES = 8

_DEVICE: list[SimDevice] = []


def the_device() -> SimDevice:
    """The device of this process."""
    if not _DEVICE:
        _DEVICE.append(SimDevice())
    return _DEVICE[0]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an operator is, found out once."""

    name: str
    composite: bool
    view: bool
    #: The host has to look at values before it can go on.
    looks: bool


_KINDS: dict[OpOverload, _Kind] = {}


def _kind(func: OpOverload) -> _Kind:
    found = _KINDS.get(func)
    if found is None:
        name = operator_name(func)
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            f"{func._schema.name}.{func._overloadname}".removesuffix(".default"),
            "CompositeImplicitAutograd",
        )
        found = _Kind(
            name=name,
            composite=composite and name not in _WHOLE,
            view=func.is_view,
            looks=torch.Tag.data_dependent_output in func.tags
            or torch.Tag.dynamic_output_shape in func.tags
            or name in _INDEXED,
        )
        _KINDS[func] = found
    return found


class _Operands:
    """A call's arguments with hidden tensors in the places of those of the device."""

    __slots__ = ("args", "host", "kwargs", "outer")

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        #: Tensors of the device, by the identity of the hidden ones.
        self.outer: dict[int, SimTensor] = {}
        #: Tensors of the host, but for numbers.
        self.host: list[torch.Tensor] = []
        self.args = [self._lower(value) for value in args]
        self.kwargs = {name: self._lower(value) for name, value in kwargs.items()}

    def _lower(self, value: Any) -> Any:
        if isinstance(value, SimTensor):
            self.outer[id(value.hidden)] = value
            return value.hidden
        if isinstance(value, torch.Tensor):
            if value.dim():
                self.host.append(value)
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self._lower(item) for item in value)
        return value


def execute(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operator on the CPU as the device would.

    :raises NotOnDeviceError: operator or type are forbidden, or a result would change its shape.
    :raises torch.OutOfMemoryError: a result does not fit.
    :raises torch.AcceleratorError: the device is gone.
    """
    kind = _kind(func)
    if kind.composite:
        return func.decompose(*args, **kwargs)
    device = the_device()
    operands = _Operands(args, kwargs)
    with torch._C._AutoDispatchBelowADInplaceOrView():
        if func in _COPIES:
            return _copy(device, func, args, operands)
        if kind.view:
            device.begin_view(kind.name)
            # A view of a tensor from outside inference mode is no inference tensor either.
            if torch.is_inference_mode_enabled() and not any(
                outer.is_inference() for outer in operands.outer.values()
            ):
                with torch.inference_mode(False):
                    found = func(*operands.args, **operands.kwargs)
                    return _raise(device, kind.name, operands, found)
        else:
            device.begin(kind.name)
        if operands.host:
            _check_host(device, kind, operands)
        to_host = _place_results(operands)
        if kind.name in _UNWRITTEN and not to_host:
            return _unwritten(device, kind.name, func, operands)
        found = func(*operands.args, **operands.kwargs)
        if kind.looks:
            _look(device, kind, operands, found)
        return found if to_host else _raise(device, kind.name, operands, found)


def _place_results(operands: _Operands) -> bool:
    """Have factories make hidden tensors; whether they are asked for one of the host."""
    asked = operands.kwargs.get("device")
    if asked is None:
        return False
    operands.kwargs["device"] = torch.device("cpu")
    return bool(torch.device(asked).type == "cpu")


def _check_host(device: SimDevice, kind: _Kind, operands: _Operands) -> None:
    if kind.name in _INDEXED and all(not t.is_floating_point() for t in operands.host):
        for tensor in operands.host:
            device.copied("host_to_device", tensor.nbytes, kind.name, waits=True)
        return
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{device.name} and cpu! (in {kind.name!r})"
    )


def _look(device: SimDevice, kind: _Kind, operands: _Operands, found: Any) -> None:
    """Count what the host has to read."""
    if kind.name in _INDEXED and not any(_is_mask(tensor) for tensor in operands.args[1]):
        return
    if operands.kwargs.get("output_size") is not None:
        return  # said beforehand, so that nobody has to look
    if isinstance(found, torch.Tensor):
        device.copied("device_to_host", _SIZE_BYTES, kind.name, waits=True)
        return
    first = operands.args[0]
    nbytes = first.element_size() if isinstance(first, torch.Tensor) else _SIZE_BYTES
    device.copied("device_to_host", nbytes, kind.name, waits=True)


def _is_mask(tensor: torch.Tensor | None) -> bool:
    return tensor is not None and tensor.dtype in (torch.bool, torch.uint8)


def _unwritten(device: SimDevice, name: str, func: OpOverload, operands: _Operands) -> Any:
    """Memory that was never written, as full of anything as it is on a device."""
    try:
        hidden = func(*operands.args, **operands.kwargs)
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise torch.OutOfMemoryError(f"{device.name} is out of memory: {error}") from error
    outer = _raise(device, name, operands, hidden)
    if device.dirty_memory:
        if hidden.is_floating_point() or hidden.is_complex():
            hidden.fill_(float("nan"))
        elif hidden.dtype != torch.bool:
            hidden.fill_(torch.iinfo(hidden.dtype).min)
    return outer


def _copy(device: SimDevice, func: OpOverload, args: Sequence[Any], operands: _Operands) -> Any:
    """``copy_``, ``_to_copy``, ``_copy_from``: each may cross between host and device."""
    lowered, named = operands.args, operands.kwargs
    if func is aten._to_copy.default:
        asked = named.pop("device", None)
        from_device = isinstance(args[0], SimTensor)
        to_device = from_device if asked is None else torch.device(asked).type != "cpu"
        source, waits = lowered[0], not named.get("non_blocking", False)
        if from_device and not to_device:
            named.pop("pin_memory", None)
    else:
        if func is aten._copy_from.default:
            lowered, args = [lowered[1], lowered[0], *lowered[2:]], [args[1], args[0], *args[2:]]
            func = aten.copy_.default
        from_device, to_device = (isinstance(tensor, SimTensor) for tensor in (args[1], args[0]))
        source = lowered[1]
        waits = not (lowered[2] if len(lowered) > 2 else named.get("non_blocking", False))
    name = func.overloadpacket.__name__
    if from_device != to_device:
        name = COPY_TO_DEVICE if to_device else COPY_TO_HOST
    device.begin(name)
    found = func(*lowered, **named)
    given = _raise(device, name, operands, found) if to_device else found
    if from_device != to_device:
        # Types are changed where the tensor comes from.
        nbytes = found.nbytes if func is aten._to_copy.default else source.nbytes
        direction: Direction = "host_to_device" if to_device else "device_to_host"
        device.copied(direction, nbytes, name, waits=waits)
    return given


def _raise(device: SimDevice, name: str, operands: _Operands, found: Any) -> Any:
    """Results with tensors of the device in the places of hidden ones."""
    if isinstance(found, torch.Tensor):
        outer = operands.outer.get(id(found))
        if outer is None:
            device.check_dtype(found.dtype, name)
            return SimTensor(found, device.allocate(found, name))
        if outer.shape != found.shape or outer.stride() != found.stride():
            raise NotImplementedError(
                f"{device.name} does not change the shape of a tensor: {name!r} makes "
                f"{list(outer.shape)} to {list(found.shape)}. Give `out` its right shape."
            )
        return outer
    if isinstance(found, (list, tuple)):
        return type(found)(_raise(device, name, operands, item) for item in found)
    return found
