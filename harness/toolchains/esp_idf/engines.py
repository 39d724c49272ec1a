"""The vendors' engines: which components and sources run a runtime's artifacts under ESP-IDF.

One row per runtime. The sources are ours, in firmware/runtimes; the libraries come from
Espressif's component registry when the project is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.errors import UnsupportedError, UsageError
from harness.portable.ops import OPERATORS
from harness.portable.ops.fully_connected import FullyConnected
from harness.portable.ops.multiplied_sums import MultipliedSums
from harness.runtimes.base import Artifact
from harness.runtimes.planned import PlannedArtifact

IDF_FROM, IDF_BEFORE = (5, 4), (6, 1)
"""From the first with all the driver calls of firmware/platforms/esp_idf; 6.0 is the last that was read."""

IDF_VERSIONS = ">={}.{},<{}.{}".format(*IDF_FROM, *IDF_BEFORE)


@dataclass(frozen=True)
class Engine:
    """`folder` below firmware/runtimes; `components` with the versions they may have; `kernels` to
    the sdkconfig lines that choose them; `definitions`: macros of the engine, as CMake writes them;
    `generated`: the sources made for a model (None: for every model of the runtime). `check` raises
    UnsupportedError for a model that the library gets wrong.
    """

    folder: str
    components: Mapping[str, str]
    kernels: Mapping[str, tuple[str, ...]]
    definitions: tuple[str, ...] = ()
    generated: Callable[[Artifact | None], dict[str, str]] = field(default=lambda _: {})
    check: Callable[[Artifact], None] = field(default=lambda _: None)


def tflm_operators(artifact: Artifact | None) -> dict[str, str]:
    """operators.inc: the kernels to link in, by the names of MicroMutableOpResolver's methods.

    Those of one model, or without it all that the harness supports.
    """
    names = {layer.op for layer in artifact.layers} if artifact else set(OPERATORS)
    methods = sorted("PadV2" if name == "PADV2" else name.title().replace("_", "") for name in names)
    return {"operators.inc": "".join(f"OPERATOR({method})\n" for method in methods)}


def check_esp_nn(artifact: Artifact) -> None:
    """Raises UnsupportedError for the forms that esp-tflite-micro 1.4.0 gets wrong with ESP-NN, found by
    running its sources: convolutions without bias and grouped ones end in a failed assertion, the softmax's
    scratch memory is sized by the second dimension, not the last, and fully connected layers of int16 data
    know one scale and sums of 64 bits alone.
    """
    if not isinstance(artifact, PlannedArtifact):
        return
    tensors = artifact.graph.tensors
    for operator in artifact.graph.operators:
        shape = tensors[operator.inputs[0]].info.shape
        what = ""
        if operator.op in ("CONV_2D", "DEPTHWISE_CONV_2D") and max(operator.inputs[2:3], default=-1) < 0:
            what = "has no bias"
        elif operator.op == "CONV_2D" and tensors[operator.inputs[1]].info.shape[3] != shape[3]:
            what = "has groups"
        elif operator.op == "SOFTMAX" and (len(shape) < 2 or shape[1] < shape[-1]):
            what = f"has the input shape {list(shape)}"
        elif operator.op == "FULLY_CONNECTED" and tensors[operator.inputs[0]].info.dtype == "int16":
            step = artifact.plan.steps[operator.index]
            if len(tensors[operator.inputs[1]].scales) > 1:
                what = "has int16 data and a scale for each channel"
            elif isinstance(step, FullyConnected) and isinstance(step.sums, MultipliedSums):
                what = "has int16 data and sums of 32 bits"
        if what:
            raise UnsupportedError(
                f"operator {operator.index} ({operator.op}) {what}, which esp-tflite-micro with ESP-NN "
                "does not compute",
                "Use --kernels portable, or convert the model with biases, without groups, with one scale "
                "for dense layers of int16 data, and a softmax over [1, classes]",
            )


def check_espdl(artifact: Artifact) -> None:
    """Raises UnsupportedError for what ESP-DL 3.3.9 does not compute, found by running its sources: int8
    weights with int16 data, whose name its loader does not know, and convolutions with groups that are
    not one channel each, which it runs as depthwise ones.
    """
    if artifact.scheme not in ("int8", "int16"):
        raise UnsupportedError(
            f"{artifact.name} is {artifact.scheme}, which ESP-DL 3.3.9 cannot read",
            "Quantise with --scheme int8 or int16, or use --kernels portable",
        )
    if not isinstance(artifact, PlannedArtifact):
        return
    tensors = artifact.graph.tensors
    for operator in artifact.graph.operators:
        groups = operator.options.get("group", 1) if operator.op == "Conv" else 1
        channels = {tensors[t].info.shape[-1] for t in (operator.inputs[0], operator.outputs[0])}
        if groups != 1 and channels != {groups}:
            raise UnsupportedError(
                f"operator {operator.index} (Conv) has {groups} groups over channels {sorted(channels)}; "
                "ESP-DL computes one group or one channel in and out per group",
                "Use --kernels portable, or a model without such groups",
            )


ENGINES = {
    "tflm": Engine(
        folder="tflm",
        components={"espressif/esp-tflite-micro": ">=1.4.0,<1.5", "espressif/esp-nn": ">=1.2.3,<1.3"},
        # NN_SKIP_NUDGE would round differently from TFLM's reference.
        kernels={
            "vendor": ("NN_OPTIMIZED=y", "NN_SKIP_NUDGE=n"),
            "vendor-ansi": ("NN_ANSI_C=y",),
        },
        generated=tflm_operators,
        check=check_esp_nn,
    ),
    "espdl": Engine(
        folder="espdl",
        # Running one module at a time, dl::Model::run(stage_num, ...), came with 3.3.6.
        components={"espressif/esp-dl": ">=3.3.6,<3.4"},
        kernels={"vendor": ()},
        check=check_espdl,
        definitions=(
            "ESPDL_INTERNAL_BYTES=${CONFIG_HARNESS_ESPDL_INTERNAL_BYTES}",
            "ESPDL_COPY_PARAMETERS=$<BOOL:${CONFIG_HARNESS_ESPDL_COPY_PARAMETERS}>",
            "ESPDL_DUAL_CORE=$<BOOL:${CONFIG_HARNESS_ESPDL_DUAL_CORE}>",
        ),
    ),
}


def get_engine(runtime: str, kernels: str) -> Engine:
    """The engine of a runtime (its scheme does not matter) with these kernels.

    Raises:
        UsageError: the runtime has no such kernels of a vendor's.
    """
    family, _, _ = runtime.partition(":")
    engine = ENGINES.get(family)
    if engine is None or kernels not in engine.kernels:
        known = ", ".join(("portable", *(engine.kernels if engine else ())))
        raise UsageError(f"runtime {runtime} has no kernels '{kernels}'", f"Use one of: {known}")
    return engine
