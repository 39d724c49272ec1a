"""What one item of a run leaves behind, as plain data: the only thing reports read.

Nothing here knows of boards or pytest; every field is JSON-able. `None` means
"not known" or "not asked for" and is shown as such, never as 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RuntimeGap:
    """Device against oracle, in LSB of the output integers. Blames the firmware."""

    max_lsb: int
    mismatching_elements: int
    elements: int
    mismatching_samples: int
    samples: int
    layer_samples: int = 0
    layers: int = 0
    mismatching_layers: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        return self.max_lsb == 0 and not self.mismatching_elements and not self.mismatching_layers


@dataclass(frozen=True)
class QuantisationGap:
    """Oracle (dequantised) against the float reference. Blames the quantiser.

    `agreement` is the share of samples with the same arg max, 0..1.
    """

    reference: str
    agreement: float | None
    max_abs: float
    mean_abs: float
    rmse: float
    cosine: float
    samples: int


@dataclass(frozen=True)
class Accuracy:
    """Share of samples whose arg max is the label, 0..1; None where it does not apply."""

    device: float | None
    oracle: float | None
    reference: float | None
    samples: int


@dataclass(frozen=True)
class CountStatistics:
    """Per-inference counts of one kind. `unit` is instructions (emulated), cycles or us."""

    unit: str
    minimum: int
    median: float
    maximum: int
    samples: int


@dataclass(frozen=True)
class LayerRecord:
    index: int
    op: str
    name: str
    shape: tuple[int, ...]
    macs: int
    count: int | None
    max_lsb: int | None
    mismatching_elements: int | None


@dataclass(frozen=True)
class Memory:
    """Bytes. The image's sizes are None for an attached board whose firmware was not built here."""

    flash_bytes: int | None
    text_bytes: int | None
    rodata_bytes: int | None
    ram_bytes: int | None
    arena_bytes: int | None
    model_bytes: int | None
    stack_bytes: int | None
    stack_used_bytes: int | None


@dataclass(frozen=True)
class Sample:
    """One inference. `label` and `reference_*` are None when there is none, classes also for a
    single output, which has no arg max."""

    index: int
    label: int | None
    device_class: int | None
    oracle_class: int | None
    reference_class: int | None
    max_lsb: int
    mismatching_elements: int
    count: int | None
    time_us: int | None
    retries: int
    device_scores: tuple[float, ...]
    oracle_scores: tuple[float, ...]
    reference_scores: tuple[float, ...] | None


@dataclass(frozen=True)
class ItemRecord:
    """target x model x runtime: verdict, figures and provenance.

    `outcome` is passed, failed (a measurement is wrong) or error (the run broke;
    `error` says why and everything not reached is None). `notes` say in a sentence each what a
    reader must know to read the figures: which board and why, what data, why no float reference.
    `scheme` is the artifact's quantisation, e.g. int8.
    """

    target: str
    model: str
    runtime: str
    kernels: str
    outcome: str
    scheme: str | None = None
    fidelity: str | None = None
    board: str | None = None
    error: str | None = None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    runtime_gap: RuntimeGap | None = None
    quantisation_gap: QuantisationGap | None = None
    accuracy: Accuracy | None = None
    counts: CountStatistics | None = None
    memory: Memory | None = None
    layers: tuple[LayerRecord, ...] = ()
    wire: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    log: str | None = None

    @property
    def key(self) -> str:
        """Unique within a run; `-portable` goes without saying."""
        parts = [self.target, self.model, self.runtime.replace(":", "-")]
        return "-".join(parts if self.kernels == "portable" else [*parts, self.kernels])


@dataclass(frozen=True)
class RunRecord:
    """One session: when, where, with what, and its items."""

    run_id: str
    started: str
    command: str
    host: dict[str, str]
    items: tuple[ItemRecord, ...]
    duration_s: float = 0.0
