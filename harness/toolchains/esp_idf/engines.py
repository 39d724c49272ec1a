"""The vendors' engines: which components and sources run a runtime's artifacts under ESP-IDF.

One row per runtime. The sources are ours, in firmware/runtimes; the libraries come from
Espressif's component registry when the project is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from harness.errors import UnsupportedError, UsageError
from harness.portable.ops import OPERATORS
from harness.portable.ops.fully_connected import FullyConnected
from harness.portable.ops.multiplied_sums import MultipliedSums
from harness.runtimes.base import Artifact
from harness.runtimes.espdl_v1 import vendor
from harness.runtimes.planned import PlannedArtifact
from harness.targets import Target


@dataclass(frozen=True)
class IdfVersions:
    """From `first` on, before `before`: major and minor."""

    first: tuple[int, int]
    before: tuple[int, int]
    example: str

    def __str__(self) -> str:
        return ">={}.{},<{}.{}".format(*self.first, *self.before)

    def __contains__(self, version: tuple[int, ...]) -> bool:
        return self.first <= version[:2] < self.before


IDF_VERSIONS = IdfVersions((5, 4), (6, 1), "v5.5.1")
"""From the first with all the driver calls of firmware/platforms/esp_idf; 6.0 is the last that was read."""

OLDER_IDF = IdfVersions((4, 4), (5, 1), "v4.4.8")
"""What esp-dl v1 (branch idfv4.4) and v2.0 are made for; firmware/platforms/esp_idf/older_idf.h."""

PORTABLE = "portable"


@dataclass(frozen=True)
class Engine:
    """`folder` below firmware/runtimes; `components` with the versions they may have; `kernels` to
    the sdkconfig lines that choose them; `definitions`: macros of the engine, as CMake writes them;
    `generated`: the sources made for a model (None: for every model of the runtime) on a chip. `check`
    raises UnsupportedError for a model that the library gets wrong. `checkout`: the environment variable
    that names a library no registry has, and its component. `code_is_model`: the model is C++, so that it
    is always linked into the app and its image only describes it.
    """

    folder: str
    components: Mapping[str, str]
    kernels: Mapping[str, tuple[str, ...]]
    definitions: tuple[str, ...] = ()
    generated: Callable[[Artifact | None, Target], dict[str, str]] = field(default=lambda *_: {})
    check: Callable[[Artifact], None] = field(default=lambda _: None)
    idf: IdfVersions = IDF_VERSIONS
    checkout: tuple[str, str] | None = None
    code_is_model: bool = False


def tflm_operators(artifact: Artifact | None, target: Target) -> dict[str, str]:
    """operators.inc: the kernels to link in, by the names of MicroMutableOpResolver's methods.

    Those of one model, or without it all that the harness supports.
    """
    del target
    names = {layer.op for layer in artifact.layers} if artifact else set(OPERATORS)
    methods = sorted("PadV2" if name == "PADV2" else name.title().replace("_", "") for name in names)
    return {"operators.inc": "".join(f"OPERATOR({method})\n" for method in methods)}


def v1_sources(artifact: Artifact | None, target: Target) -> dict[str, str]:
    """The model's own classes and coefficients: without a model there is nothing to build."""
    assert artifact is not None, "code_is_model"
    return vendor.sources(artifact, target)


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
    "espdl-v1": Engine(
        folder="espdl_v1",
        components={},
        kernels={"vendor": ("ESP_TASK_WDT=n",)},
        generated=v1_sources,
        check=vendor.check,
        idf=OLDER_IDF,
        checkout=("ESP_DL_PATH", "esp-dl"),
        code_is_model=True,
    ),
}


KERNELS = (PORTABLE, *dict.fromkeys(name for engine in ENGINES.values() for name in engine.kernels))
"""All there are, of any runtime."""


SEEN_ON_SILICON: frozenset[tuple[str, str, str]] = frozenset()
"""(target, runtime, kernels) that a board has run with 0 LSB, in this project's own records."""


def idf_versions(runtimes: Iterable[str], kernels: str) -> IdfVersions:
    """What firmware of these runtimes is built with; where they differ, that of most."""
    families = {name.partition(":")[0] for name in runtimes}
    wanted = {ENGINES[name].idf for name in families if kernels != PORTABLE and name in ENGINES}
    return wanted.pop() if len(wanted) == 1 and families <= set(ENGINES) else IDF_VERSIONS


def unconfirmed(target: str, runtime: str, kernels: str) -> str:
    """The sentence for a report on firmware that no board of this project has confirmed; "" after that."""
    family, _, _ = runtime.partition(":")
    if (target, family, kernels) in SEEN_ON_SILICON:
        return ""
    return f"no board has confirmed the {kernels} kernels of {family} on {target} yet: docs/boards.md"


def get_engine(runtime: str, kernels: str) -> Engine:
    """The engine of a runtime (its scheme does not matter) with these kernels.

    Raises:
        UsageError: the runtime has no such kernels of a vendor's.
    """
    family, _, _ = runtime.partition(":")
    engine = ENGINES.get(family)
    if engine is None or kernels not in engine.kernels:
        known = ", ".join((PORTABLE, *(engine.kernels if engine else ())))
        raise UsageError(f"runtime {runtime} has no kernels '{kernels}'", f"Use one of: {known}")
    return engine
