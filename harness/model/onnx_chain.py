"""The ONNX graph that Keras layers add to, channels first: nodes, constants, and the tensor reached.

What each layer adds is for `keras_layers.py` to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 13
IR_VERSION = 8


@dataclass(frozen=True)
class Point:
    """A tensor of the graph, by its name in ONNX; `shape` is Keras' shape of it, without the batch.

    A tensor of three dimensions lies channels first. `image`, after a Flatten, is the shape of what was
    flattened, whose channels lie first in the vector too; None where the vector is in Keras' order.
    """

    tensor: str
    shape: tuple[int, ...]
    image: tuple[int, ...] | None = None


class Chain:
    """The graph so far, and the tensor that it goes on from; `shape` and `image` as a `Point` has them.

    `others` are what the next layer reads beside that tensor.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.shape = input_shape
        self.image: tuple[int, ...] | None = None
        self.others: tuple[Point, ...] = ()
        self._input_dims = self.dims
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._tensor = "input"

    @property
    def dims(self) -> list[int]:
        """The tensor's shape in ONNX."""
        if len(self.shape) == 3:
            height, width, channels = self.shape
            return [1, channels, height, width]
        return [1, *self.shape]

    @property
    def point(self) -> Point:
        """The tensor reached."""
        return Point(self._tensor, self.shape, self.image)

    def go_to(self, point: Point, *others: Point) -> None:
        """Goes on from `point`; the next layer reads `others` too."""
        self._tensor, self.shape, self.image = point.tensor, point.shape, point.image
        self.others = others

    def settle(self, name: str) -> None:
        """Puts the elements of a vector into Keras' order."""
        if self.image is not None:
            self.reshape(name, self.shape)

    def add(
        self,
        op: str,
        name: str,
        *constants: NDArray[np.generic],
        beside: Sequence[str] = (),
        constants_first: bool = False,
        **attributes: Any,
    ) -> None:
        """A node behind the last one; the tensors `beside`, then `constants`, are its further inputs."""
        name = f"{name}_{op.lower()}"
        names = [f"{name}_{place}" for place in range(1, len(constants) + 1)]
        self._constants += [
            numpy_helper.from_array(np.ascontiguousarray(values), constant)
            for values, constant in zip(constants, names, strict=True)
        ]
        read = [self._tensor, *beside]
        inputs = [*names, *read] if constants_first else [*read, *names]
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self._tensor = name

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Keras' Reshape: in the order of height, width, channels."""
        if self.image is not None:
            self.shape, self.image = self.image, None
            self.add("Reshape", f"{name}_image", np.array(self.dims, np.int64))
        if len(self.shape) == 3 and not alike(self.shape):
            self.add("Transpose", f"{name}_last", perm=[0, 2, 3, 1])
        if len(shape) == 3 and not alike(shape):
            self.add("Reshape", name, np.array([1, *shape], np.int64))
            self.add("Transpose", f"{name}_first", perm=[0, 3, 1, 2])
            self.shape = shape
        else:
            self.shape = shape
            self.add("Reshape", name, np.array(self.dims, np.int64))

    def model(self) -> Any:
        """The finished ONNX model, checked."""
        if self.image is not None or self._tensor == "input":
            self.reshape("output", self.shape)
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = ["output" if name == self._tensor else name for name in names]
        float32 = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "model",
            [helper.make_tensor_value_info("input", float32, self._input_dims)],
            [helper.make_tensor_value_info("output", float32, self.dims)],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="harness")
        onnx.checker.check_model(made, full_check=True)
        return made


def alike(shape: tuple[int, ...]) -> bool:
    """Whether (H, W, C) has its elements in the same order channels first."""
    return shape[2] == 1 or shape[0] * shape[1] == 1
