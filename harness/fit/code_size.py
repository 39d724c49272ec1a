"""How many bytes the portable firmware of a plan has, estimated without a compiler.

Weights, tables, arena and the tables of layers are counted exactly; of code, code_sizes.json says what real
builds of real networks had (`benchmarks/firmware_sizes.py`). A layer is looked up by its generated text,
numbers left out; one that no build had counts as the median of its operator's, then of all. Builds nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from statistics import median
from typing import Any

from harness.portable.layer_table import layer_row
from harness.portable.plan import Plan
from harness.portable.source import arena_bytes, shares_rows
from harness.portable.step import Alias, Step
from harness.runtimes.planned import PlannedArtifact

TENSOR_ROW_BYTES = 48
CALL_BYTES = 20
# Of convolution.h; their size depends on which tiles the model calls, which go with the name.
ROW_KERNELS = frozenset({"convolve", "convolve_row"})
# A layer's own tables, by C type; of an array, each element.
LOCAL_TABLE_BYTES = {"convolution": 52, "filter_window": 16, "margin_rows": 32, "int32_t": 4}
CONSTANT_ALIGNMENT = 16


@dataclass(frozen=True)
class FirmwareSize:
    """Of the firmware that the emulated machine runs, as `Image` counts them. `model_bytes` is the part of
    `flash_bytes` that the network brought. `built`: read off a build; else `unknown` names the layers that no
    measured build had.
    """

    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    model_bytes: int
    built: bool
    unknown: tuple[str, ...] = ()


def layer_key(step: Step, shared_rows: bool) -> str:
    """What a layer's code goes by: operator, type, the loops' text with numbers left out, and how the sizes
    named in it divide by the tiles of the kernels. `shared_rows`: of shares_rows() for its plan.
    """
    text = re.sub(r"layer_\d+", "layer", "\n".join(step.body()))
    sizes = [_division(int(number)) for number in re.findall(r"\b[A-Z_]+ = (\d+)\b", text)]
    loops = _digest(re.sub(r"(?<!\w)-?\d[\w.]*", "#", text))
    alone = not shared_rows and "convolve_row" in step.kernels
    return f"{operator_key(step)} {loops}{'-alone' if alone else ''} {_digest(' '.join(sizes))}"


def _division(size: int) -> str:
    """One, fewer than a tile of 4 or 8, or what is left over by tiles of 8, 4 and 2."""
    if size < 2:
        return str(size)
    rest = next(tile for tile in (8, 4, 2, 1) if size % tile == 0)
    return f"{'few' if size < 4 else 'some' if size < 8 else 'many'}{rest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def operator_key(step: Step) -> str:
    """Operator and type of the data, as `CONV_2D int8`."""
    return f"{step.op} {step.writes[0].info.dtype}"


def constant_bytes(plan: Plan) -> int:
    """Weights and tables with the gaps that their alignment leaves."""
    sizes = [constant.values.nbytes for step in plan.steps for constant in step.constants()]
    return sum(-(-size // CONSTANT_ALIGNMENT) * CONSTANT_ALIGNMENT for size in sizes)


def table_bytes(artifact: PlannedArtifact) -> int:
    """The rows that describe layers and tensors, the distinct names in them, and what each layer's function
    has beside its code: its call, and small tables of its own.
    """
    plan = artifact.plan
    ends = (*artifact.inputs, *artifact.outputs)
    names = {artifact.name, *(info.name for info in ends), *(step.op for step in plan.steps)}
    strings = sum(len(name.encode()) + 1 for name in names)
    places = 4 * (len(ends) + len(plan.steps))
    coded = [step for step in plan.steps if not isinstance(step, Alias)]
    places += CALL_BYTES * len(coded) + sum(map(_local_table_bytes, coded))
    return layer_row(plan).size_bytes * len(plan.steps) + TENSOR_ROW_BYTES * len(ends) + strings + places


def _local_table_bytes(step: Step) -> int:
    found = re.findall(r"^static const (\w+) \w+(?:\[\])? = \{([^}]*)", "\n".join(step.body()), re.MULTILINE)
    sizes = [(LOCAL_TABLE_BYTES.get(c_type, 4), c_type, text.count(",") + 1) for c_type, text in found]
    return sum(size * (count if c_type.endswith("_t") else 1) for size, c_type, count in sizes)


@dataclass(frozen=True)
class Parts:
    """What an estimate is made of: index, operator and key of each layer with a function; the kernels that
    stand once for all of them; bytes known exactly.
    """

    layers: tuple[tuple[int, str, str], ...]
    kernels: frozenset[str]
    exact_bytes: int
    arena_bytes: int


def parts(artifact: PlannedArtifact) -> Parts:
    """Of a network, whichever chip it is for."""
    plan = artifact.plan
    coded = [step for step in plan.steps if not isinstance(step, Alias)]
    shared = shares_rows(plan)
    kernels = frozenset().union(*(step.kernels for step in coded))
    tiles = sorted({name.rpartition("_")[2] for name in kernels - ROW_KERNELS})
    return Parts(
        layers=tuple(
            (step.index, step.op, layer_key(step, shared))
            for step in coded
            if not (shared and step.is_one_call)
        ),
        kernels=kernels - ROW_KERNELS
        | {f"{name} {' '.join(tiles)}" for name in kernels & ROW_KERNELS if shared},
        exact_bytes=constant_bytes(plan) + table_bytes(artifact),
        arena_bytes=arena_bytes(plan),
    )


def estimate(artifact: PlannedArtifact, isa: str) -> FirmwareSize:
    """Sizes on the machine that stands in for a chip of `isa`."""
    return add_up(parts(artifact), _measured()[isa])


def add_up(network: Parts, measured: Mapping[str, Any]) -> FirmwareSize:
    """The estimate by one instruction set's table: `base`, `shared` and `layers` of code_sizes.json."""
    code, unknown, shared = 0, [], set(network.kernels)
    for index, op, key in network.layers:
        found = measured["layers"].get(key)
        if found is None:
            unknown.append(f"{index} {op}")
            found = _typical(measured["layers"], key)
        code += found["bytes"]
        shared |= set(found["shared"])
    code += sum(_shared_bytes(measured["shared"], name) for name in shared)
    base = measured["base"]
    return FirmwareSize(
        flash_bytes=base["flash"] + code + network.exact_bytes,
        ram_bytes=base["ram"] + network.arena_bytes,
        arena_bytes=network.arena_bytes,
        model_bytes=code + network.exact_bytes,
        built=False,
        unknown=tuple(unknown),
    )


def base_bytes(isa: str) -> Mapping[str, int]:
    """Flash and static RAM of the emulated firmware without a network: `flash`, `ram`."""
    base: Mapping[str, int] = _measured()[isa]["base"]
    return base


def _shared_bytes(sizes: Mapping[str, int], name: str) -> int:
    """Of a function, or the median of its kind: of a row's with other tiles, of tiles of another size."""
    if name in sizes:
        return sizes[name]
    kind = re.sub(r"_\d+x\d+$", "", name.split(" ")[0])
    return round(median(size for other, size in sizes.items() if re.match(rf"{kind}[ _]", other)))


def _typical(layers: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A layer of the same loops, else operator and type, else operator, else any: the one of median size."""
    words = key.split(" ")
    for known in range(len(words) - 1, -1, -1):
        alike = [row for other, row in layers.items() if other.split(" ")[:known] == words[:known]]
        if alike:
            middle = median(row["bytes"] for row in alike)
            return min(alike, key=lambda row: abs(row["bytes"] - middle))
    raise AssertionError("code_sizes.json has no layers")


@functools.cache
def _measured() -> dict[str, Any]:
    text = (files("harness") / "fit" / "code_sizes.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
