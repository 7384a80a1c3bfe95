"""Just enough of ONNX's file format to read a model's tensors and to write a small graph.

An ONNX file is one protocol buffer message; onnx/onnx.proto names the fields. Reading copies
nothing: tensors are slices of the buffer. Writing takes only what the encoder's graph needs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "FLOAT",
    "INT8",
    "INT64",
    "UINT8",
    "Tensor",
    "external_tensor",
    "graph_model",
    "node",
    "read_tensors",
    "tensor",
    "value_info",
]

#: TensorProto.DataType
FLOAT, UINT8, INT8, INT64 = 1, 2, 3, 7
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5
_IR_VERSION = 8
#: The default domain (LayerNormalization appeared in 17), and onnxruntime's own operators.
_OPSETS = {"": 17, "com.microsoft": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A constant of a graph."""

    name: str
    dims: tuple[int, ...]
    #: One of the constants above, or another of TensorProto.DataType.
    data_type: int
    #: Little-endian elements in row order.
    raw: memoryview


def read_tensors(model: memoryview) -> Iterator[Tensor]:
    """Yield the constants of a model's graph in file order.

    Raises:
        ValueError: the buffer is not an ONNX model.
    """
    for number, graph in _fields(model):
        if number == 7 and isinstance(graph, memoryview):
            for inner, value in _fields(graph):
                if inner == 5 and isinstance(value, memoryview):
                    yield _read_tensor(value)


def _read_tensor(message: memoryview) -> Tensor:
    name, data_type, raw = "", 0, memoryview(b"")
    dims: list[int] = []
    for number, value in _fields(message):
        match number, value:
            case 1, int():
                dims.append(value)
            case 1, memoryview():
                dims.extend(_varints(value))
            case 2, int():
                data_type = value
            case 8, memoryview():
                name = bytes(value).decode()
            case 9, memoryview():
                raw = value
            case _:
                pass
    return Tensor(name=name, dims=tuple(dims), data_type=data_type, raw=raw)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            size, at = _read_varint(message, at)
        elif kind in (1, _FIXED32):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"field of {size} bytes at byte {at} of {len(message)}")
        yield key >> 3, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _read_varint(packed, at)
        yield value


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(f"unfinished number at byte {at}")


def graph_model(
    nodes: Sequence[bytes],
    tensors: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
) -> bytes:
    """Return a whole model of one graph."""
    graph = b"".join(
        (
            *(_field(1, n) for n in nodes),
            _field(2, b"encoder"),
            *(_field(5, t) for t in tensors),
            *(_field(11, i) for i in inputs),
            *(_field(12, o) for o in outputs),
        )
    )
    opsets = (_field(8, _field(1, d.encode()) + _field(2, v)) for d, v in _OPSETS.items())
    return _field(1, _IR_VERSION) + _field(7, graph) + b"".join(opsets)


def node(
    operator: str,
    inputs: Sequence[str],
    output: str,
    *,
    domain: str = "",
    **attributes: float | Sequence[int],
) -> bytes:
    """Return a node with one output; an input named "" is an optional one left out."""
    return b"".join(
        (
            *(_field(1, i.encode()) for i in inputs),
            _field(2, output.encode()),
            _field(3, output.encode()),
            _field(4, operator.encode()),
            *(_field(5, _attribute(name, value)) for name, value in attributes.items()),
            _field(7, domain.encode()),
        )
    )


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    if isinstance(value, int):
        body, kind = _field(3, value), 2
    elif isinstance(value, float):
        body, kind = _varint(2 << 3 | _FIXED32) + struct.pack("<f", value), 1
    else:
        body, kind = b"".join(_field(8, i) for i in value), 7
    return _field(1, name.encode()) + body + _field(20, kind)


def tensor(name: str, data_type: int, dims: Sequence[int], raw: bytes) -> bytes:
    """Return a constant with its data."""
    return _tensor_head(name, data_type, dims) + _field(9, raw)


def external_tensor(name: str, data_type: int, dims: Sequence[int]) -> bytes:
    """Return a constant whose data the session options bring along, by its name."""
    location = _field(1, b"location") + _field(2, name.encode())
    return _tensor_head(name, data_type, dims) + _field(13, location) + _field(14, 1)


def _tensor_head(name: str, data_type: int, dims: Sequence[int]) -> bytes:
    shape = b"".join(_field(1, d) for d in dims)
    return shape + _field(2, data_type) + _field(8, name.encode())


def value_info(name: str, data_type: int, dims: Sequence[int | str]) -> bytes:
    """Return an input or output; a dimension that varies has a name for its size."""
    shape = b"".join(
        _field(1, _field(1, d) if isinstance(d, int) else _field(2, d.encode())) for d in dims
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, data_type) + _field(2, shape)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # int64 as two's complement
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
