"""Flatbuffer tables with every access checked: no offset in a damaged file leads out of it.

Knows the wire format (tables, vtables, vectors, strings), not what an .espdl file holds.
Format: flatbuffers' "Internals" page.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError


def damaged(why: str) -> ModelError:
    """The error for a file that contradicts itself."""
    return ModelError(f"the .espdl file is damaged: {why}", "Copy or export the model again")


@dataclass(frozen=True)
class Table:
    """One table of `data`; fields go by their slot, as the schema numbers them from 0."""

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table the file begins with."""
        return cls(data, _number(data, 0, "<I"))

    def _field(self, slot: int) -> int | None:
        """Where the field of `slot` lies; None when it is left at its default."""
        vtable = self.position - _number(self.data, self.position, "<i")
        size = _number(self.data, vtable, "<H")
        if size < 4 + 2 * (slot + 1):
            return None
        offset = _number(self.data, vtable + 4 + 2 * slot, "<H")
        return self.position + offset if offset else None

    def _target(self, slot: int) -> int | None:
        field = self._field(slot)
        return None if field is None else field + _number(self.data, field, "<I")

    def integer(self, slot: int, layout: str = "<i") -> int:
        """A scalar, or a struct of one scalar; 0 when it is left out."""
        field = self._field(slot)
        return 0 if field is None else _number(self.data, field, layout)

    def table(self, slot: int) -> Table | None:
        target = self._target(slot)
        return None if target is None else Table(self.data, target)

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty when it is left out."""
        return [Table(self.data, position) for position in self._offsets(slot)]

    def text(self, slot: int) -> str:
        """A string; empty when it is left out."""
        target = self._target(slot)
        return "" if target is None else self._string(target)

    def texts(self, slot: int) -> list[str]:
        return [self._string(position) for position in self._offsets(slot)]

    def vector(self, slot: int, dtype: str, item_bytes: int = 0) -> NDArray[np.generic]:
        """A vector of scalars, or of structs of `item_bytes` read as `dtype`; empty when left out."""
        target = self._target(slot)
        if target is None:
            return np.empty(0, dtype)
        size = _number(self.data, target, "<I") * (item_bytes or np.dtype(dtype).itemsize)
        _span(self.data, target + 4, size)
        return np.frombuffer(self.data[target + 4 : target + 4 + size], dtype)

    def _offsets(self, slot: int) -> list[int]:
        target = self._target(slot)
        if target is None:
            return []
        count = _number(self.data, target, "<I")
        _span(self.data, target + 4, 4 * count)
        places = range(target + 4, target + 4 + 4 * count, 4)
        return [place + _number(self.data, place, "<I") for place in places]

    def _string(self, position: int) -> str:
        size = _number(self.data, position, "<I")
        _span(self.data, position + 4, size)
        return self.data[position + 4 : position + 4 + size].decode("utf-8", "replace")


def _span(data: bytes, start: int, size: int) -> None:
    if start < 0 or start + size > len(data):
        raise damaged(f"it points to byte {start + size} of {len(data)}")


def _number(data: bytes, position: int, layout: str) -> int:
    _span(data, position, struct.calcsize(layout))
    return int(struct.unpack_from(layout, data, position)[0])
