"""A plan as C99: model.c (one function per layer, engine.h) and model_weights.c/.h.

The text is a function of the plan and the artifact's identity alone: the same model
gives the same bytes, on every machine. Writes no files; `project.py` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.portable.c_text import C_TYPES, WIDTH, comment_text, fill, layout, literals, string
from harness.portable.graph import Tensor
from harness.portable.layer_table import DTYPES, layer_table, scale_bits
from harness.portable.plan import Plan
from harness.portable.step import Alias, Step
from harness.tensors import TensorInfo

SHARED_FROM = 3  # layers


@dataclass(frozen=True)
class Identity:
    """What the firmware answers when asked what it runs."""

    runtime: str
    model: str
    digest: str


class Placement(ABC):
    """Where the activations of a plan lie while it runs: in one static arena, unless somebody needs another
    arrangement. `headers` are what its C needs of the shared headers.
    """

    headers: tuple[str, ...] = ()

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abstractmethod
    def summary(self) -> list[str]:
        """What model.c says of it in its first lines."""

    @abstractmethod
    def storage(self) -> list[str]:
        """What stands before the layers."""

    @abstractmethod
    def at(self, tensor: Tensor) -> str:
        """A C pointer to an activation, of its own type."""

    @abstractmethod
    def scratch_at(self, step: Step) -> str:
        """A C pointer to the scratch memory of a step that needs some."""

    @abstractmethod
    def tables(self) -> list[str]:
        """What stands between the layers and the functions of engine.h."""

    @abstractmethod
    def bodies(self) -> Mapping[str, str]:
        """By its mark in `_ENGINE`, what the functions that know of memory do."""


class Arena(Placement):
    """One static arena, in which the plan has an offset for each activation."""

    def summary(self) -> list[str]:
        memory = self.plan.memory
        return [
            f"Activations share an arena of {memory.peak_bytes} bytes; at the busiest layer",
            f"{memory.lower_bound_bytes} are alive at once, so no plan could need less.",
        ]

    def storage(self) -> list[str]:
        size_bytes = arena_bytes(self.plan)
        return [
            "static union {",
            f"    int8_t bytes[{size_bytes}];",
            f"    int16_t halves[{size_bytes // 2}];",
            f"    uint32_t words[{size_bytes // 4}];",
            "} arena __attribute__((aligned(16)));",
        ]

    def at(self, tensor: Tensor) -> str:
        return self._pointer(self.plan.offsets[tensor.index], tensor.info.dtype)

    def scratch_at(self, step: Step) -> str:
        return self._pointer(self.plan.scratch[step.index], step.writes[0].info.dtype)

    def _pointer(self, offset: int, dtype: str) -> str:
        if dtype == "float32":
            return f"&arena.words[{offset // 4}]"
        if dtype == "int16":
            return f"&arena.halves[{offset // 2}]"
        return f"{'(uint8_t *)' if dtype == 'uint8' else ''}&arena.bytes[{offset}]"

    def tables(self) -> list[str]:
        graph, offsets = self.plan.graph, self.plan.offsets
        written = [step.writes[0].index for step in self.plan.steps]
        return [
            *number_table("input_offset", [offsets[index] for index in graph.inputs]),
            *number_table("output_offset", [offsets[index] for index in graph.outputs]),
            *number_table("layer_offset", [offsets[index] for index in written]),
        ]

    def bodies(self) -> Mapping[str, str]:
        return {
            "INIT": "    memset(&arena, 0, sizeof arena);\n    return NULL;",
            "INPUT_DATA": "    return &arena.bytes[input_offset[index]];",
            "OUTPUT_DATA": "    return &arena.bytes[output_offset[index]];",
            "LAYER_DATA": "    return &arena.bytes[layer_offset[index]];",
            "BEFORE_LAYER": "",
            "AFTER_LAYER": "",
            "MEMORY": "    memory->arena_bytes = sizeof arena;\n    memory->arena_used_bytes = sizeof arena;",
        }


def model_source(
    plan: Plan, identity: Identity, kernel_headers: Sequence[str] = (), placement: Placement | None = None
) -> str:
    """model.c: layers in the order they run, then the functions of engine.h."""
    placement = placement or Arena(plan)
    graph = plan.graph
    inputs = [graph.tensors[index] for index in graph.inputs]
    outputs = [graph.tensors[index] for index in graph.outputs]
    macs = sum(step.macs for step in plan.steps)
    layers = "1 layer" if len(plan.steps) == 1 else f"{len(plan.steps)} layers"
    included = sorted({"model_weights.h", *kernel_headers, *headers(plan), *placement.headers})
    lines = [
        "/*",
        f" * {comment_text(identity.model)}: {layers}, {macs:,} multiply-accumulates.",
        " *",
        *(f" * {line}" for line in placement.summary()),
        f" * Weights and tables: {plan.constant_bytes} bytes of read-only memory.",
        " */",
        "#include <string.h>",
        "",
        *_kernels_called(plan),
        '#include "engine.h"',
        *[f'#include "{header}"' for header in included],
        "",
        "/* Layers that are more than a call stay functions of their own: merged into one, they run",
        " * out of registers (rv32imc: 40 % more instructions), and a profiler could not tell them",
        " * apart. And not cloned: gcc 12 -O2 took all that a clone of the softmax stores for dead, its",
        " * call too. */",
        "#ifdef __clang__",
        "#define NOINLINE __attribute__((noinline))",
        "#else",
        "#define NOINLINE __attribute__((noinline, noclone))",
        "#endif",
        "",
        *placement.storage(),
        "",
    ]
    for step in plan.steps:
        lines += _function(step, shares_rows(plan))
    lines += _run_layer(plan, placement)
    lines += _tensors("inputs", inputs) + _tensors("outputs", outputs) + layer_table(plan)
    lines += placement.tables()
    lines += _engine(plan, identity, placement)
    return "\n".join(lines)


def _kernels_called(plan: Plan) -> list[str]:
    """What tells the shared headers which of their functions the layers call, and how many layers do."""
    kernels = {name for step in plan.steps for name in step.kernels}
    shapes = {name.rpartition("_")[2].upper() for name in kernels if name.startswith("tile")}
    if not shapes:
        return []
    tiles = " | ".join(f"TILE_{shape}" for shape in sorted(shapes, reverse=True))
    return [f"#define TILES ({tiles})", f"#define SHARED_ROWS {int(shares_rows(plan))}", ""]


def shares_rows(plan: Plan) -> bool:
    """convolution.h's functions are functions. Few layers have them in themselves: where shapes are constant
    they take fewer instructions, and hardly more flash.
    """
    return sum("convolve_row" in step.kernels for step in plan.steps) >= SHARED_FROM


def arena_bytes(plan: Plan) -> int:
    """Size of the arena; never 0, which C does not allow."""
    return max(plan.memory.peak_bytes, 16)


def headers(plan: Plan) -> list[str]:
    """The shared headers the plan's kernels need."""
    return sorted({header for step in plan.steps for header in step.headers})


def weights_header(plan: Plan) -> str:
    """model_weights.h: one extern per array."""
    lines = [
        "/* Weights, biases, multipliers and tables, by layer. */",
        "#ifndef MODEL_WEIGHTS_H",
        "#define MODEL_WEIGHTS_H",
    ]
    lines += ["", "#include <stdint.h>", ""]
    lines += ["/* SHA-256 of the artifact all this was generated from. */"]
    lines += ["extern const char model_artifact[65];", ""]
    for step in plan.steps:
        for constant in step.constants():
            name = f"{step.prefix}_{constant.name}"
            lines.append(
                f"extern const {C_TYPES[constant.values.dtype.name]} {name}[{constant.values.size}];"
            )
    return "\n".join([*lines, "", "#endif", ""])


def weights_source(plan: Plan, identity: Identity) -> str:
    """model_weights.c: the arrays, aligned for vector loads, and whose they are."""
    lines = ['#include "model_weights.h"', ""]
    lines += [f"const char model_artifact[65] = {string(identity.digest)};", ""]
    for step in plan.steps:
        if step.constants() and step.notes():
            lines += ["/*", f" * Layer {step.index}: {step.op}", *_notes(step), " */"]
        for constant in step.constants():
            name = f"{step.prefix}_{constant.name}"
            c_type = C_TYPES[constant.values.dtype.name]
            lines.append(f"const {c_type} {name}[{constant.values.size}] __attribute__((aligned(16))) = {{")
            lines += [*fill(literals(constant.values)), "};", ""]
    return "\n".join(lines)


def _function(step: Step, shared_rows: bool) -> list[str]:
    comment = ["/*", f" * Layer {step.index}: {step.op}"]
    for name, tensor in [
        *zip(step.read_names, step.reads, strict=True),
        *zip(step.write_names, step.writes, strict=True),
    ]:
        comment.append(f" *   {name:<8} {describe(tensor.info)}")
    comment += [
        f" * {step.macs:,} multiply-accumulates." if step.macs else "",
        ""
        if step.lead_bytes is None
        else " * `output` may lie over rows of `input` that are not read again.",
        # What depends on the values of constants stands beside them: other weights, the same model.c.
        *([] if step.constants() else _notes(step)),
    ]
    comment = [line for line in comment if line]
    if isinstance(step, Alias):
        return [*comment, " * Same bytes, same place: nothing to do.", " */", ""]
    parameters = [
        f"const {C_TYPES[t.info.dtype]} *{n}" for n, t in zip(step.read_names, step.reads, strict=True)
    ]
    parameters += [
        f"{C_TYPES[t.info.dtype]} *{n}" for n, t in zip(step.write_names, step.writes, strict=True)
    ]
    if step.scratch_bytes:
        parameters.append(f"{C_TYPES[step.writes[0].info.dtype]} *scratch")
    kind = "inline" if shared_rows and step.is_one_call else f"NOINLINE {step.attributes}".rstrip()
    head = f"static {kind} void {step.function}({', '.join(parameters)}) {{"
    return [*comment, " */", *_wrapped(head), *layout(step.body(), depth=1), "}", ""]


def _notes(step: Step) -> list[str]:
    return [f" * {note}." for note in step.notes()]


def _wrapped(head: str) -> list[str]:
    """A function's head, its parameters aligned when they need more than one line."""
    if len(head) <= WIDTH:
        return [head]
    name, parameters = head.split("(", 1)
    lines = fill(parameters.removesuffix(") {").split(", "), " " * (len(name) + 1))
    lines[0] = f"{name}({lines[0].lstrip()}"
    return [*lines[:-1], f"{lines[-1]}) {{"]


def describe(info: TensorInfo) -> str:
    """One line: shape, type, quantisation, name."""
    shape = "x".join(map(str, info.shape)) or "scalar"
    quantisation = f", scale {info.scale:.9g}, zero point {info.zero_point}" if info.quantised else ""
    return f"{shape} {info.dtype}{quantisation}, {comment_text(first_name(info))[:60]}"


def first_name(info: TensorInfo) -> str:
    """Converters join the names of all they fused with semicolons."""
    return info.name.split(";")[0]


def _run_layer(plan: Plan, placement: Placement) -> list[str]:
    lines = ["static void run_layer(uint16_t index) {", "    switch (index) {"]
    for step in plan.steps:
        if isinstance(step, Alias):
            continue
        places = [placement.at(tensor) for tensor in (*step.reads, *step.writes)]
        if step.scratch_bytes:
            places.append(placement.scratch_at(step))
        lines += [f"    case {step.index}:", f"        {step.function}({', '.join(places)});"]
        lines.append("        break;")
    return [*lines, "    default:", "        break;", "    }", "}", ""]


def _tensor(info: TensorInfo) -> str:
    dims = ", ".join(map(str, info.shape)) or "0"
    return (
        f"{{{string(first_name(info))}, {DTYPES[info.dtype]}, {len(info.shape)}, {{{dims}}}, "
        f"{info.size_bytes}, {scale_bits(info)}, {info.zero_point}}}"
    )


def _tensors(name: str, tensors: list[Tensor]) -> list[str]:
    rows = [f"    {_tensor(tensor.info)}," for tensor in tensors]
    return [f"static const engine_tensor {name}[] = {{", *rows, "};", ""]


def number_table(name: str, values: Sequence[int]) -> list[str]:
    """A constant array of 32-bit numbers."""
    return [f"static const uint32_t {name}[] = {{", *fill(str(value) for value in values), "};", ""]


def _engine(plan: Plan, identity: Identity, placement: Placement) -> list[str]:
    counts = f"{len(plan.graph.inputs)}, {len(plan.graph.outputs)}, {len(plan.steps)}"
    names = f'{string(identity.runtime)}, "portable", {string(identity.model)}'
    text = _ENGINE.replace("@INFO@", f"{names},\n    model_artifact,\n    {counts}")
    text = text.replace("@MODEL_BYTES@", str(plan.constant_bytes))
    for mark, body in placement.bodies().items():
        text = text.replace(f"@{mark}@\n", f"{body}\n" if body else "")
    return [*text.splitlines(), ""]


_ENGINE = """\
static const engine_info info = {
    @INFO@
};

const char *engine_init(void) {
@INIT@
}

const engine_info *engine_get_info(void) {
    return &info;
}

const engine_tensor *engine_input(uint16_t index) {
    return &inputs[index];
}

const engine_tensor *engine_output(uint16_t index) {
    return &outputs[index];
}

void *engine_input_data(uint16_t index) {
@INPUT_DATA@
}

const void *engine_output_data(uint16_t index) {
@OUTPUT_DATA@
}

const void *engine_layer_data(uint16_t index) {
@LAYER_DATA@
}

const char *engine_invoke(uint16_t count, engine_observer observer, void *context) {
    for (uint16_t index = 0; index < count; index++) {
@BEFORE_LAYER@
        run_layer(index);
        if (observer != NULL) {
            observer(context, index);
        }
@AFTER_LAYER@
    }
    return NULL;
}

void engine_get_memory(engine_memory *memory) {
@MEMORY@
    memory->model_bytes = @MODEL_BYTES@;
}
"""
