"""Bounds check of a .tflite file: every offset a reader may follow stays in the file.

The tflite-micro interpreter follows offsets unchecked and crashes the process on a
damaged file, so nothing reaches it that has not passed here. Knows the tables of the
TFLite schema that are read, not what they mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.errors import ModelError

IDENTIFIER = b"TFL3"
MAX_TABLES = 1_000_000

# A field is the size of a scalar, or one of these. Fields are listed by their slot in the table.
STRING = "string"


@dataclass(frozen=True)
class Vector:
    item_bytes: int


@dataclass(frozen=True)
class Tables:
    """A vector of offsets to tables."""

    table: str


@dataclass(frozen=True)
class One:
    table: str


Field = int | str | Vector | Tables | One

# From schema.fbs of TensorFlow Lite, schema version 3 (tensorflow/compiler/mlir/lite/schema).
SCHEMA: dict[str, dict[int, Field]] = {
    "Model": {
        0: 4,  # version
        1: Tables("OperatorCode"),
        2: Tables("SubGraph"),
        3: STRING,  # description
        4: Tables("Buffer"),
        5: Vector(4),  # metadata_buffer
        6: Tables("Metadata"),
        7: Tables("SignatureDef"),
    },
    "OperatorCode": {0: 1, 1: STRING, 2: 4, 3: 4},
    "SubGraph": {
        0: Tables("Tensor"),
        1: Vector(4),  # inputs
        2: Vector(4),  # outputs
        3: Tables("Operator"),
        4: STRING,
    },
    "Tensor": {
        0: Vector(4),  # shape
        1: 1,  # type
        2: 4,  # buffer
        3: STRING,
        4: One("QuantizationParameters"),
        5: 1,  # is_variable
        6: One("Unread"),  # sparsity
        7: Vector(4),  # shape_signature
        8: 1,  # has_rank
        9: Tables("Unread"),  # variant_tensors
    },
    "QuantizationParameters": {
        0: Vector(4),  # min
        1: Vector(4),  # max
        2: Vector(4),  # scale
        3: Vector(8),  # zero_point
        4: 1,  # details_type
        5: One("Unread"),  # details
        6: 4,  # quantized_dimension
    },
    "Operator": {
        0: 4,  # opcode_index
        1: Vector(4),  # inputs
        2: Vector(4),  # outputs
        3: 1,  # builtin_options_type
        4: One("Options"),
        5: Vector(1),  # custom_options
        6: 1,
        7: Vector(1),  # mutating_variable_inputs
        8: Vector(4),  # intermediates
        9: 8,
        10: 8,
        11: 1,
        12: One("Unread"),  # builtin_options_2
    },
    "Buffer": {0: Vector(1), 1: 8, 2: 8},
    "Metadata": {0: STRING, 1: 4},
    "SignatureDef": {0: Tables("TensorMap"), 1: Tables("TensorMap"), 2: STRING, 3: STRING, 4: 4},
    "TensorMap": {0: STRING, 1: 4},
    "Unread": {},
}
# Options tables hold scalars, except these two, which begin with a vector of int32.
OPTIONS_WITH_VECTOR = {17: "ReshapeOptions", 30: "SqueezeOptions"}


def verify(data: bytes) -> None:
    """Raises ModelError unless every table reachable from the root lies inside `data`."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise ModelError(
            f"not a .tflite file: {len(data)} bytes, and '{IDENTIFIER.decode()}' is not at offset 4",
            "Check the path, or convert the model again",
        )
    _Verifier(data).table(_Verifier(data).offset(0), "Model")


class _Verifier:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tables = 0

    def span(self, start: int, size: int) -> None:
        """Checks that `size` bytes from `start` are there."""
        if start < 0 or start + size > len(self.data):
            raise ModelError(
                f"the .tflite file is truncated: {len(self.data)} bytes, expected at least {start + size}",
                "Copy or convert the model again",
            )

    def number(self, position: int, layout: str) -> int:
        self.span(position, struct.calcsize(layout))
        return int(struct.unpack_from(layout, self.data, position)[0])

    def offset(self, position: int) -> int:
        """Where the forward offset stored at `position` points."""
        return position + self.number(position, "<I")

    def table(self, position: int, name: str, options_type: int = 0) -> None:
        self.tables += 1
        if self.tables > MAX_TABLES:
            raise ModelError(f"the .tflite file is damaged: more than {MAX_TABLES} tables")
        vtable = position - self.number(position, "<i")
        vtable_bytes, table_bytes = self.number(vtable, "<H"), self.number(vtable + 2, "<H")
        if vtable_bytes < 4 or vtable_bytes % 2 or table_bytes < 4:
            raise ModelError(
                f"the .tflite file is damaged: {name} table at byte {position} has no valid layout"
            )
        self.span(vtable, vtable_bytes)
        self.span(position, table_bytes)
        slots = {slot: self.number(vtable + 4 + 2 * slot, "<H") for slot in range((vtable_bytes - 4) // 2)}
        fields = self.options_fields(options_type, slots) if name == "Options" else SCHEMA[name]
        for slot, kind in fields.items():
            if slots.get(slot, 0):
                size = kind if isinstance(kind, int) else 4
                if slots[slot] + size > table_bytes:
                    raise ModelError(
                        f"the .tflite file is damaged: {name} table at byte {position} is too short"
                    )
                self.field(position + slots[slot], kind, self.union_type(position, slots, name))

    def union_type(self, position: int, slots: dict[int, int], name: str) -> int:
        """builtin_options_type of an Operator."""
        return self.number(position + slots[3], "<B") if name == "Operator" and slots.get(3) else 0

    def options_fields(self, options_type: int, slots: dict[int, int]) -> dict[int, Field]:
        """Scalars of at most four bytes, and the two tables that begin with a vector."""
        first: dict[int, Field] = {0: Vector(4)} if options_type in OPTIONS_WITH_VECTOR else {}
        return {**dict.fromkeys(slots, 1), **first}

    def field(self, position: int, kind: Field, options_type: int) -> None:
        if isinstance(kind, int):
            return
        target = self.offset(position)
        if isinstance(kind, One):
            self.table(target, kind.table, options_type)
            return
        item_bytes = 1 if kind == STRING else kind.item_bytes if isinstance(kind, Vector) else 4
        count = self.number(target, "<I")
        self.span(target + 4, count * item_bytes + (kind == STRING))
        if isinstance(kind, Tables):
            for index in range(count):
                self.table(self.offset(target + 4 + 4 * index), kind.table)
