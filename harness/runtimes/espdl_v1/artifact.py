"""The .espdlv1 file: a quantised network's integers and exponents, and how its layers are joined.

It is a safetensors file (https://huggingface.co/docs/safetensors): filters and biases are its tensors,
in this package's order; `__metadata__` has the format's name and the network as JSON. The same network
gives the same bytes. Every number is checked when it is read; nothing in it can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.runtimes.espdl_v1.assemble import Stated, assemble
from harness.runtimes.espdl_v1.calibrate import SCHEMES
from harness.runtimes.espdl_v1.quantise import QuantisedLayer, QuantisedNetwork

FORMAT = "espdl-v1 1"
_DTYPES: dict[str, np.dtype[np.integer]] = {"I8": np.dtype("<i1"), "I16": np.dtype("<i2")}
_ALIGNMENT = 8
_EXPONENTS = range(-128, 129)


def write_artifact(network: QuantisedNetwork) -> bytes:
    """The file's bytes."""
    tensors: dict[str, NDArray[np.integer]] = {}
    for index, layer in enumerate(network.layers):
        if layer.filter is not None:
            tensors[f"{index}.filter"] = layer.filter.astype(network.integer_dtype)
        if layer.bias is not None:
            width = "int16" if network.scheme.per_channel else network.integer_dtype
            tensors[f"{index}.bias"] = layer.bias.astype(width)
    facts = {
        "scheme": network.scheme.name,
        "input": network.network.input,
        "input_shape": network.network.input_shape,
        "input_exponent": network.input_exponent,
        "layers": [_layer_facts(index, layer) for index, layer in enumerate(network.layers)],
    }
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, "network": json.dumps(facts)}}
    offset = 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": f"I{8 * values.itemsize}",
            "shape": values.shape,
            "data_offsets": [offset, offset + values.nbytes],
        }
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    blob = b"".join(values.astype(values.dtype.newbyteorder("<")).tobytes() for values in tensors.values())
    return len(text).to_bytes(8, "little") + text + blob


def _layer_facts(index: int, layer: QuantisedLayer) -> dict[str, Any]:
    shape = layer.layer
    facts: dict[str, Any] = {"op": shape.op, "name": shape.name}
    if layer.reads != (index - 1,):
        facts["reads"] = layer.reads
    if layer.filter is not None:
        facts |= {"output_exponent": layer.output_exponent, "filter_exponents": layer.filter_exponents}
        facts |= {"strides": shape.strides, "dilations": shape.dilations, "pads": shape.pads}
        if shape.activation is not None:
            facts["activation"] = shape.activation
        if shape.activation == "LeakyReLU":
            facts |= {"alpha": layer.alpha, "alpha_exponent": layer.alpha_exponent}
    elif shape.op == "MaxPool2D":
        facts |= {"kernel": shape.kernel, "strides": shape.strides}
    elif shape.op == "Reshape":
        facts["shape"] = shape.output_shape
    return facts


def read_artifact(data: bytes) -> QuantisedNetwork:
    """The network of a file's bytes.

    Raises:
        ModelError: not such a file, truncated, or numbers in it that do not fit each other.
        UnsupportedError: a layer, or a form of one, that this version does not have.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + size])
        metadata = header["__metadata__"]
        known = metadata["format"]
        facts = json.loads(metadata["network"])
    except (ValueError, TypeError, KeyError, RecursionError):
        _damaged("it is no safetensors file with a network")
    if known != FORMAT:
        _damaged(f"its format is {str(known)[:40]!r}, expected {FORMAT!r}")
    blob = data[8 + size :]
    tensors = {name: _tensor(name, entry, blob) for name, entry in header.items() if name != "__metadata__"}
    given = _Facts(facts)
    scheme = SCHEMES.get(given.text("scheme"))
    if scheme is None:
        _damaged(f"its scheme is none of {', '.join(SCHEMES)}")
    layers = [
        _stated(_Facts(entry), tensors.get(f"{index}.filter"), tensors.get(f"{index}.bias"))
        for index, entry in enumerate(given.list("layers"))
    ]
    height, width, channels = given.numbers("input_shape", 3)
    exponent = given.exponent("input_exponent")
    return assemble(given.text("input"), (height, width, channels), exponent, scheme, layers)


def _stated(facts: _Facts, filter_: NDArray[np.int64] | None, bias: NDArray[np.int64] | None) -> Stated:
    top, bottom, left, right = facts.numbers("pads", 4, (0, 0, 0, 0))
    one = (1, 1)
    kernel, strides, dilations = (facts.numbers(key, 2, one) for key in ("kernel", "strides", "dilations"))
    shape = facts.numbers("shape", 3, (1, 1, 1))
    activation = facts.text("activation", "") or None
    if activation not in (None, "ReLU", "LeakyReLU"):
        _damaged(f"activation is {activation}")
    exponents = facts.numbers("filter_exponents", None, ())
    if not all(exponent in _EXPONENTS for exponent in exponents):
        _damaged("filter_exponents are out of range")
    return Stated(
        facts.text("op"),
        facts.text("name"),
        output_exponent=facts.exponent("output_exponent", 0),
        filter=filter_,
        filter_exponents=exponents,
        bias=bias,
        activation=activation,
        alpha=facts.numbers("alpha", 1, (0,))[0],
        alpha_exponent=facts.exponent("alpha_exponent", 0),
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        dilations=(dilations[0], dilations[1]),
        padding=(top, bottom, left, right),
        shape=(shape[0], shape[1], shape[2]),
        reads=facts.numbers("reads", None, ()) or None,
    )


def _tensor(name: str, entry: Any, blob: bytes) -> NDArray[np.int64]:
    """One tensor's elements, all of them inside the file."""
    facts = _Facts(entry)
    dtype = _DTYPES.get(facts.text("dtype"))
    shape, (start, end) = facts.numbers("shape", None), facts.numbers("data_offsets", 2)
    if dtype is None or not all(1 <= size <= 1 << 24 for size in shape):
        _damaged(f"tensor {name[:40]} has a type or shape that no layer takes")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not 0 <= start <= end <= len(blob) or end - start != size:
        _damaged(f"tensor {name[:40]} needs {size} bytes at {start}, the file has {len(blob)}")
    return np.frombuffer(blob[start:end], dtype).astype(np.int64).reshape(shape)


class _Facts:
    """A JSON object whose values are checked as they are taken."""

    def __init__(self, values: Any) -> None:
        if not isinstance(values, Mapping):
            _damaged("a table is expected where something else is")
        self._values = values

    def _get(self, key: str, default: Any) -> Any:
        value = self._values.get(key, default)
        if value is None:
            _damaged(f"{key} is missing")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            _damaged(f"{key} is no text")
        return value

    def list(self, key: str) -> list[Any]:
        value = self._get(key, None)
        if not isinstance(value, list):
            _damaged(f"{key} is no list")
        return value

    def numbers(self, key: str, count: int | None, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """`count` whole numbers, any number of them for None; a single one may stand alone."""
        value = self._get(key, default)
        values = [value] if type(value) is int else value
        whole = isinstance(values, list | tuple) and all(type(each) is int for each in values)
        if not whole or (count is not None and len(values) != count):
            _damaged(f"{key} is not {count or 'a list of'} whole numbers")
        if not all(abs(each) <= 1 << 40 for each in values):
            _damaged(f"{key} is out of range")
        return tuple(values)

    def exponent(self, key: str, default: int | None = None) -> int:
        (value,) = self.numbers(key, 1, None if default is None else (default,))
        if value not in _EXPONENTS:
            _damaged(f"{key} is {value}")
        return value


def _damaged(why: str) -> NoReturn:
    raise ModelError(f"not a sound .espdlv1 file: {why}", "Run the float .onnx file: it is made again")
