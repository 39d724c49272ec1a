"""A plan as C99: model.c (one function per layer, engine.h) and model_weights.c/.h.

The text is a function of the plan and the artifact's identity alone: the same model
gives the same bytes, on every machine. Writes no files; `project.py` does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from harness.portable.c_text import C_TYPES, WIDTH, comment_text, fill, layout, literals, string
from harness.portable.graph import Tensor
from harness.portable.plan import Plan
from harness.portable.step import Alias, Step
from harness.tensors import TensorInfo

DTYPES = {
    "int8": "ENGINE_INT8",
    "uint8": "ENGINE_UINT8",
    "int16": "ENGINE_INT16",
    "float32": "ENGINE_FLOAT32",
}


@dataclass(frozen=True)
class Identity:
    """What the firmware answers when asked what it runs."""

    runtime: str
    model: str
    digest: str


def model_source(plan: Plan, identity: Identity, kernel_headers: Sequence[str] = ()) -> str:
    """model.c: layers in the order they run, then the functions of engine.h."""
    graph = plan.graph
    inputs = [graph.tensors[index] for index in graph.inputs]
    outputs = [graph.tensors[index] for index in graph.outputs]
    macs = sum(step.macs for step in plan.steps)
    layers = "1 layer" if len(plan.steps) == 1 else f"{len(plan.steps)} layers"
    lines = [
        "/*",
        f" * {comment_text(identity.model)}: {layers}, {macs:,} multiply-accumulates.",
        " *",
        f" * Activations share an arena of {plan.memory.peak_bytes} bytes; at the busiest layer",
        f" * {plan.memory.lower_bound_bytes} are alive at once, so no plan could need less.",
        f" * Weights and tables: {plan.constant_bytes} bytes of read-only memory.",
        " */",
        "#include <string.h>",
        "",
        '#include "engine.h"',
        *[f'#include "{header}"' for header in sorted({"model_weights.h", *kernel_headers, *headers(plan)})],
        "",
        "/* Layers stay functions of their own: merged into one, they run out of registers",
        " * (rv32imc: 40 % more instructions), and a profiler could not tell them apart. And not",
        " * cloned: gcc 12 -O2 took all that a clone of the softmax stores for dead, its call too. */",
        "#ifdef __clang__",
        "#define NOINLINE __attribute__((noinline))",
        "#else",
        "#define NOINLINE __attribute__((noinline, noclone))",
        "#endif",
        "",
        "static union {",
        f"    int8_t bytes[{arena_bytes(plan)}];",
        f"    int16_t halves[{arena_bytes(plan) // 2}];",
        f"    uint32_t words[{arena_bytes(plan) // 4}];",
        "} arena __attribute__((aligned(16)));",
        "",
    ]
    for step in plan.steps:
        lines += _function(step)
    lines += _run_layer(plan)
    lines += _tensors("inputs", inputs) + _tensors("outputs", outputs) + _layers(plan)
    lines += _offsets("input_offset", plan, inputs) + _offsets("output_offset", plan, outputs)
    lines += _offsets("layer_offset", plan, [step.writes[0] for step in plan.steps])
    lines += _engine(plan, identity)
    return "\n".join(lines)


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


def _function(step: Step) -> list[str]:
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
    head = f"static NOINLINE {step.attributes}void {step.function}({', '.join(parameters)}) {{"
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
    return f"{shape} {info.dtype}{quantisation}, {comment_text(_first_name(info))[:60]}"


def _first_name(info: TensorInfo) -> str:
    """Converters join the names of all they fused with semicolons."""
    return info.name.split(";")[0]


def _at(offset: int, dtype: str) -> str:
    if dtype == "float32":
        return f"&arena.words[{offset // 4}]"
    if dtype == "int16":
        return f"&arena.halves[{offset // 2}]"
    return f"{'(uint8_t *)' if dtype == 'uint8' else ''}&arena.bytes[{offset}]"


def _arguments(plan: Plan, step: Step) -> str:
    tensors = (*step.reads, *step.writes)
    places = [_at(plan.offsets[tensor.index], tensor.info.dtype) for tensor in tensors]
    if step.scratch_bytes:
        places.append(_at(plan.scratch[step.index], step.writes[0].info.dtype))
    return ", ".join(places)


def _run_layer(plan: Plan) -> list[str]:
    lines = ["static void run_layer(uint16_t index) {", "    switch (index) {"]
    for step in plan.steps:
        if isinstance(step, Alias):
            continue
        lines += [f"    case {step.index}:", f"        {step.function}({_arguments(plan, step)});"]
        lines.append("        break;")
    return [*lines, "    default:", "        break;", "    }", "}", ""]


def _tensor(info: TensorInfo) -> str:
    bits = struct.unpack("<I", struct.pack("<f", info.scale))[0]
    dims = ", ".join(map(str, info.shape)) or "0"
    return (
        f"{{{string(_first_name(info))}, {DTYPES[info.dtype]}, {len(info.shape)}, {{{dims}}}, "
        f"{info.size_bytes}, 0x{bits:08x}u, {info.zero_point}}}"
    )


def _tensors(name: str, tensors: list[Tensor]) -> list[str]:
    rows = [f"    {_tensor(tensor.info)}," for tensor in tensors]
    return [f"static const engine_tensor {name}[] = {{", *rows, "};", ""]


def _layers(plan: Plan) -> list[str]:
    rows = [f'    {{"{s.op}", {s.macs}u, {_tensor(s.writes[0].info)}}},' for s in plan.steps]
    return ["static const engine_layer layers[] = {", *rows, "};", ""]


def _offsets(name: str, plan: Plan, tensors: list[Tensor]) -> list[str]:
    return [
        f"static const uint32_t {name}[] = {{",
        *fill(str(plan.offsets[t.index]) for t in tensors),
        "};",
        "",
    ]


def _engine(plan: Plan, identity: Identity) -> list[str]:
    counts = f"{len(plan.graph.inputs)}, {len(plan.graph.outputs)}, {len(plan.steps)}"
    names = f'{string(identity.runtime)}, "portable", {string(identity.model)}'
    text = _ENGINE.replace("@INFO@", f"{names},\n    model_artifact,\n    {counts}")
    return [*text.replace("@MODEL_BYTES@", str(plan.constant_bytes)).splitlines(), ""]


_ENGINE = """\
static const engine_info info = {
    @INFO@
};

const char *engine_init(void) {
    memset(&arena, 0, sizeof arena);
    return NULL;
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

const engine_layer *engine_get_layer(uint16_t index) {
    return &layers[index];
}

void *engine_input_data(uint16_t index) {
    return &arena.bytes[input_offset[index]];
}

const void *engine_output_data(uint16_t index) {
    return &arena.bytes[output_offset[index]];
}

const void *engine_layer_data(uint16_t index) {
    return &arena.bytes[layer_offset[index]];
}

const char *engine_invoke(uint16_t count, engine_observer observer, void *context) {
    if (count > info.layers) {
        return "more layers asked for than the model has";
    }
    for (uint16_t index = 0; index < count; index++) {
        run_layer(index);
        if (observer != NULL) {
            observer(context, index);
        }
    }
    return NULL;
}

void engine_get_memory(engine_memory *memory) {
    memory->arena_bytes = sizeof arena;
    memory->arena_used_bytes = sizeof arena;
    memory->model_bytes = @MODEL_BYTES@;
}
"""
