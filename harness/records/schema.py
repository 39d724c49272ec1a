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

    `agreement` is the share of samples with the same arg max, 0..1; None where the output is no classes.
    `snr_db` is 10 lg of the reference's power over the difference's, over all elements; infinite where
    there is no difference, None in records of older versions.
    """

    reference: str
    agreement: float | None
    max_abs: float
    mean_abs: float
    rmse: float
    cosine: float
    samples: int
    snr_db: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """Share of samples whose arg max is the label, 0..1; None where it does not apply."""

    device: float | None
    oracle: float | None
    reference: float | None
    samples: int


@dataclass(frozen=True)
class Reconstruction:
    """How far the output is from the input, as a mean squared error in the input's own unit; and how well
    that tells label 1, an anomaly, from 0: the area under the ROC curve, 0..1, over `recordings`, each with
    the mean error of its windows. None where it does not apply.
    """

    mse_device: float
    mse_oracle: float
    mse_reference: float | None
    auc_device: float | None
    auc_oracle: float | None
    auc_reference: float | None
    recordings: int


@dataclass(frozen=True)
class Drift:
    """Median of the last quarter of a run against the first's, -0.01 for 1 % less, and how likely chance
    alone does as much (two-sided Mann-Whitney).
    """

    change: float
    p: float


@dataclass(frozen=True)
class CountStatistics:
    """Per-inference counts of one kind. `unit` is instructions (emulated), cycles or us.

    `deviation` is the median absolute one, `median_interval` the 95 % bootstrap interval. `outliers` lie
    beyond 3 interquartile ranges and are in all figures; `outlier_samples` are the farthest. `cold` is the
    first inference since the device was found, `warmup` those between it and the samples: in no other figure.
    """

    unit: str
    minimum: int
    median: float
    maximum: int
    samples: int
    p90: float | None = None
    p99: float | None = None
    deviation: float | None = None
    median_interval: tuple[float, ...] = ()
    outliers: int | None = None
    outlier_samples: tuple[int, ...] = ()
    drift: Drift | None = None
    cold: int | None = None
    warmup: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """A declared measurement's verdict: PASS, FAIL, or UNSET (not measured, or nothing fit to compare with).

    `limits` is what was declared, `reason` what was found, a phrase each. `baseline` is the figure of run
    `baseline_run`, where one was asked for.
    """

    name: str
    figure: str
    unit: str
    doc: str
    limits: str
    value: float | None
    verdict: str
    reason: str
    baseline: float | None = None
    baseline_run: str | None = None


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
class LsbBin:
    """`elements` are off by `low` to `high` LSB, device less oracle; 0 to 0 are those that are right."""

    low: int
    high: int
    elements: int


@dataclass(frozen=True)
class InputRegion:
    """What one output element was computed from: `region` of the tensor `name`, as numpy indexes it.

    `values` are the first of its `elements`; empty where no tap gives them.
    """

    name: str
    region: str
    elements: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Divergence:
    """The first layer, in the order they run, whose output is not the oracle's; its inputs are.

    `index` counts layers from 0, `later` is how many of the layers after it differ too, where all were
    asked. `inputs` is the receptive field of the worst element. `command` replays just this layer from
    `reproducer`, a file beside the report.
    """

    sample: int
    index: int
    op: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    max_lsb: int
    mismatching_elements: int
    elements: int
    histogram: tuple[LsbBin, ...]
    worst_index: tuple[int, ...]
    worst_device: float
    worst_oracle: float
    inputs: tuple[InputRegion, ...]
    later: int | None = None
    reproducer: str | None = None
    command: str | None = None


@dataclass(frozen=True)
class TaskStack:
    """One task of the device's operating system; bytes. `low_bytes` is the least that was ever free."""

    name: str
    stack_bytes: int | None
    low_bytes: int | None


@dataclass(frozen=True)
class Memory:
    """Bytes. The image's sizes are None for an attached board whose firmware was not built here.

    `arena_bytes` is what the firmware reserves, `arena_used_bytes` what the device says it needed,
    `arena_planned_bytes` what the planner worked out and `arena_least_bytes` what is alive at the busiest
    layer, below which no plan can go. `heap_low_bytes` is the least that was ever free. `tasks`: every
    stack of the device, that of the network first, which `stack_bytes` and `stack_used_bytes` are about. The
    budgets are the target's.
    """

    flash_bytes: int | None
    text_bytes: int | None
    rodata_bytes: int | None
    ram_bytes: int | None
    arena_bytes: int | None
    model_bytes: int | None
    stack_bytes: int | None
    stack_used_bytes: int | None
    arena_used_bytes: int | None = None
    arena_planned_bytes: int | None = None
    arena_least_bytes: int | None = None
    heap_bytes: int | None = None
    heap_low_bytes: int | None = None
    ram_budget_bytes: int | None = None
    flash_budget_bytes: int | None = None
    tasks: tuple[TaskStack, ...] = ()

    @property
    def task_stack_low_bytes(self) -> int | None:
        """The least that was ever free of any task's stack."""
        return min((task.low_bytes for task in self.tasks if task.low_bytes is not None), default=None)


@dataclass(frozen=True)
class Night:
    """One earlier run of an item, as its trend shows it. Shares run 0..1; None: not measured.

    `data` is the digest of the inputs, `samples` how many of them ran.
    """

    run_id: str
    started: str
    outcome: str
    commit: str | None = None
    board: str | None = None
    fidelity: str | None = None
    data: str | None = None
    samples: int | None = None
    max_lsb: int | None = None
    top1: float | None = None
    agreement: float | None = None
    snr_db: float | None = None
    count_unit: str | None = None
    count_median: float | None = None
    flash_bytes: int | None = None
    arena_bytes: int | None = None


@dataclass(frozen=True)
class Trend:
    """What the history knew of an item when it ended: earlier runs of it, oldest first, and its baseline."""

    nights: tuple[Night, ...] = ()
    baseline: Night | None = None


@dataclass(frozen=True)
class Sample:
    """One inference. `label` and `reference_*` are None when there is none, classes also where
    the task is no classification."""

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


def item_key(target: str, model: str, runtime: str, kernels: str, unit: str) -> str:
    """What an item is called in reports, folders and the history."""
    parts = [target, model, runtime.replace(":", "-"), "" if kernels == "portable" else kernels, unit]
    return "-".join(filter(None, parts))


@dataclass(frozen=True)
class Part:
    """One stretch of an item's samples on one link, from sample `first` on; what it takes to go on after a
    kill, and to run it again from its wire log.

    Paths are relative to the run's directory. `facts` are digests: what must be the same for a run to go on.
    `baud`, `timeout_s`, `warmup` and `layer_samples` are those the link ran with.
    """

    wire: str
    text: str
    first: int
    samples: int
    artifact: str
    expectation: str
    facts: dict[str, str]
    baud: int
    timeout_s: float
    warmup: int
    layer_samples: int


@dataclass(frozen=True)
class ItemRecord:
    """target x model x runtime: verdict, figures and provenance.

    `outcome` is passed, failed (a measurement is wrong) or error (the run broke;
    `error` says why and everything not reached is None). `notes` say in a sentence each what a
    reader must know to read the figures: which board and why, what data, why no float reference.
    `scheme` is the artifact's quantisation, e.g. int8; `task` what the network is for
    (`harness.model.task`), None in records of older versions. `latency` is in us of the device's own
    clock, where that is a clock: on silicon, and on this computer for fidelity host. `unit` tells one of
    several boards of a target from the others. `error_kind` is the class of `harness.errors` that
    `error` is of. `harness_s` is processor time of the harness, not of the device, from the first
    sample to the result. `size_table` is esp-idf-size's text.
    `trend` is None where no history could be read.
    """

    target: str
    model: str
    runtime: str
    kernels: str
    outcome: str
    scheme: str | None = None
    task: str | None = None
    fidelity: str | None = None
    board: str | None = None
    unit: str = ""
    error: str | None = None
    error_kind: str | None = None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    runtime_gap: RuntimeGap | None = None
    quantisation_gap: QuantisationGap | None = None
    accuracy: Accuracy | None = None
    reconstruction: Reconstruction | None = None
    counts: CountStatistics | None = None
    latency: CountStatistics | None = None
    memory: Memory | None = None
    layers: tuple[LayerRecord, ...] = ()
    divergence: Divergence | None = None
    measurements: tuple[Measurement, ...] = ()
    trend: Trend | None = None
    wire: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    harness_s: float | None = None
    log: str | None = None
    size_table: str | None = None

    @property
    def key(self) -> str:
        """Unique within a run; `-portable` goes without saying."""
        return item_key(self.target, self.model, self.runtime, self.kernels, self.unit)


@dataclass(frozen=True)
class RunRecord:
    """One session: when, where, with what, and its items. `ended`: not killed before it was through."""

    run_id: str
    started: str
    command: str
    host: dict[str, str]
    items: tuple[ItemRecord, ...]
    duration_s: float = 0.0
    ended: bool = True
