"""The table of layers in model.c and what makes an `engine_layer` of a row.

A row holds less than an `engine_layer`, in types as narrow as the model allows: with a name and in words, the
tables of the deeper networks were a tenth of their firmware. Knows nothing of where outputs lie.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from harness.portable.plan import Plan
from harness.tensors import TensorInfo

DTYPES = {
    "int8": "ENGINE_INT8",
    "uint8": "ENGINE_UINT8",
    "int16": "ENGINE_INT16",
    "float32": "ENGINE_FLOAT32",
}


@dataclass(frozen=True)
class LayerRow:
    """The C types of what a row holds: no wider than the model's largest value needs."""

    macs: str
    dim: str
    rank: int

    @property
    def size_bytes(self) -> int:
        """Of a row on the device: MACs, three words, dtype, element size, rank, dimensions."""
        wide = 8 if self.macs == "uint64_t" else 4
        dim = 2 if self.dim == "uint16_t" else 4
        before = wide + 12 + 3
        used = before + -before % dim + dim * self.rank
        return used + -used % wide


def layer_row(plan: Plan) -> LayerRow:
    shapes = [step.writes[0].info.shape for step in plan.steps]
    longest = max((size for shape in shapes for size in shape), default=1)
    return LayerRow(
        macs="uint32_t" if max(step.macs for step in plan.steps) < 1 << 32 else "uint64_t",
        dim="uint16_t" if longest < 1 << 16 else "int32_t",
        rank=max(1, *(len(shape) for shape in shapes)),
    )


def layer_table(plan: Plan) -> list[str]:
    """The lines of the table, and of engine_get_layer()."""
    types = layer_row(plan)
    head = _HEAD.replace("@MACS@", types.macs).replace("@DIM@", types.dim)
    rows = []
    for step in plan.steps:
        info = step.writes[0].info
        dims = ", ".join(map(str, info.shape)) or "0"
        values = (
            *(f"{step.macs}u", f'"{step.op}"', scale_bits(info), info.zero_point),
            *(DTYPES[info.dtype], np.dtype(info.dtype).itemsize, len(info.shape), f"{{{dims}}}"),
        )
        rows.append(f"    {{{', '.join(map(str, values))}}},")
    return [*head.replace("@RANK@", str(types.rank)).splitlines(), *rows, "};", "", *_GET.splitlines(), ""]


def scale_bits(info: TensorInfo) -> str:
    return f"0x{struct.unpack('<I', struct.pack('<f', info.scale))[0]:08x}u"


_HEAD = """\
/* Layers in the order they run; engine_get_layer() makes an engine_layer of a row. Their tensors' names
 * are above, and not on the device: hosts have them from the artifact. */
static const struct {
    @MACS@ macs;
    const char *op;
    uint32_t scale_bits;
    int32_t zero_point;
    uint8_t dtype;
    uint8_t element_bytes;
    uint8_t rank;
    @DIM@ dims[@RANK@];
} layers[] = {
"""

_GET = """\
const engine_layer *engine_get_layer(uint16_t index) {
    static engine_layer layer;
    engine_tensor *const output = &layer.output;

    layer.op = layers[index].op;
    layer.macs = layers[index].macs;
    output->name = "";
    output->dtype = (engine_dtype)layers[index].dtype;
    output->rank = layers[index].rank;
    output->bytes = layers[index].element_bytes;
    output->scale_bits = layers[index].scale_bits;
    output->zero_point = layers[index].zero_point;
    for (uint8_t i = 0; i < output->rank; i++) {
        output->dims[i] = layers[index].dims[i];
        output->bytes *= (uint32_t)output->dims[i];
    }
    return &layer;
}
"""
