"""An ONNX file in QDQ form, opened and checked: nodes, shapes, constants, power-of-two exponents.

It knows QuantizeLinear and DequantizeLinear; what the operators between them mean is `reader.py`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray

from harness.errors import ModelError, UnsupportedError

OPSET_MIN = 13
REMEDY = "Quantise the float model with: harness quantise MODEL --runtime tvm --out FILE.onnx"
EXPONENT_LIMIT = 60


@dataclass(frozen=True)
class Parameter:
    """A stored integer tensor: real = values * 2^exponent, one exponent or one per slice along `axis`."""

    name: str
    values: NDArray[np.int64]
    exponents: tuple[int, ...]
    axis: int


class QdqFile:
    """The graph of a QDQ file with all shapes known."""

    def __init__(self, data: bytes) -> None:
        """Raises ModelError or UnsupportedError for anything but a QDQ model of fixed shapes."""
        graph = _parse(data)
        self.nodes = list(graph.node)
        self._check_form()
        self.constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and (value := self.attribute(node, "value")) is not None:
                self.constants[node.output[0]] = onnx.numpy_helper.to_array(value)
        self.producers = {name: node for node in self.nodes for name in node.output}
        self.inputs = [value.name for value in graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in graph.output]
        known = [*graph.input, *graph.output, *graph.value_info]
        self._types = {value.name: value.type.tensor_type for value in known}

    def _check_form(self) -> None:
        kinds = {node.op_type for node in self.nodes}
        if operators := sorted(kind for kind in kinds if kind.startswith("QLinear") or kind == "QGemm"):
            raise UnsupportedError(
                f"{operators[0]}: the file is in QOperator form, expected QDQ",
                "Quantise with quant_format=QuantFormat.QDQ and scales that are powers of two",
            )
        if "QuantizeLinear" not in kinds:
            raise ModelError("a float model, expected one in QDQ form", REMEDY)

    def refuse(self, node: Any, why: str, remedy: str = "") -> NoReturn:
        """The operator, by index and name, is not supported in this form."""
        name = f" '{node.name}'" if node.name else ""
        raise UnsupportedError(f"operator {self.nodes.index(node)} ({node.op_type}{name}): {why}", remedy)

    def shape(self, name: str) -> tuple[int, ...]:
        """The dimensions of a tensor.

        Raises:
            ModelError: not fixed.
        """
        if name in self.constants:
            return tuple(self.constants[name].shape)
        kind = self._types.get(name)
        dims = [] if kind is None else [dim.dim_value for dim in kind.shape.dim]
        if kind is None or not kind.HasField("shape") or any(dim < 1 for dim in dims):
            raise ModelError(
                f"tensor '{name}' has no fixed shape", "Export the float model with batch 1 and fixed sizes"
            )
        return tuple(dims)

    def dtype(self, name: str) -> str:
        """A numpy name; "" where it is not known."""
        kind = self._types.get(name)
        if kind is None or not kind.elem_type:
            return ""
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))

    def attribute(self, node: Any, name: str, default: Any = None) -> Any:
        """A node's attribute as a Python value."""
        for item in node.attribute:
            if item.name == name:
                return onnx.helper.get_attribute_value(item)
        return default

    def constant(self, node: Any, position: int) -> NDArray[np.generic] | None:
        """The value of a node's input where it is stored in the file; None for an absent input too."""
        return self.constants.get(node.input[position]) if position < len(node.input) else None

    def exponents(self, node: Any) -> tuple[int, ...]:
        """Of the scales of a QuantizeLinear or DequantizeLinear, whose zero points must all be 0."""
        scales = self.constant(node, 1)
        if scales is None:
            self.refuse(node, "its scale is computed, expected a constant")
        if len(node.input) > 2 and node.input[2]:
            zeros = self.constant(node, 2)
            if zeros is None or np.any(zeros):
                self.refuse(node, f"the zero point of '{node.input[0]}' is not 0", REMEDY)
        found = []
        for scale in np.asarray(scales, np.float64).reshape(-1):
            mantissa, exponent = math.frexp(scale)
            if mantissa != 0.5 or abs(exponent) > EXPONENT_LIMIT:
                self.refuse(node, f"the scale {scale:.6g} of '{node.input[0]}' is not a power of two", REMEDY)
            found.append(exponent - 1)
        return tuple(found)

    def quantised_dtype(self, node: Any) -> str:
        """What a QuantizeLinear makes; uint8 when it has no zero point to say so."""
        zeros = self.constant(node, 2)
        return "uint8" if zeros is None else zeros.dtype.name


def _parse(data: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
        opsets = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # protobuf, checker and inference have classes of their own
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"not a valid ONNX model: {said}", "Export it again") from error
    if not opsets or opsets[0] < OPSET_MIN:
        came = opsets[0] if opsets else "none"
        raise ModelError(f"expected ONNX opset {OPSET_MIN} or later, came {came}", "Export it again")
    return model.graph
