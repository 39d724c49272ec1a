"""An MLPerf Tiny run by the rules: accuracy over a data set, or performance in five windows.

It writes the three files of a submission, log.txt, results.txt and results.json, in the words that the
submission checker looks for. Energy mode and the streaming benchmark are not here: they need
other instruments.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from harness.errors import DeviceError
from harness.mlperf_tiny.dataset import Sample
from harness.mlperf_tiny.device import Inference, MlperfDevice
from harness.mlperf_tiny.score import area_under_curve, mean_scores, quality, top1_percent
from harness.progress import Progress

WINDOWS = 5
WINDOW_S = 10.0
# Chosen a little longer, as the windows differ.
_MARGIN = 1.05
_FIRST_LOOK_S = 0.2
_WINDOW_ATTEMPTS = 4
_WARMUPS = 10
# How names of this bench's own firmware end when it does not run on the chip: its clock is not the chip's.
_NOT_SILICON = ("-isa", "-soc", "-host")


@dataclass
class Session:
    """What a run has to show: lines and records, and whether it is fit to be submitted. `quality` says
    whether a model of the benchmark is as good as the closed division wants it; "" for any other.
    """

    log: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)
    valid: bool = True
    quality: str = ""

    def say(self, text: str) -> None:
        self.log.append(f"{datetime.now():%m%d.%H%M%S} ulp-mlperf: {text}")

    def conclude(self, text: str) -> None:
        self.say(text)
        self.results.append(self.log[-1])

    def record(self, mode: str, sample: Sample, done: Inference) -> dict[str, object]:
        infer: dict[str, object] = {
            "results": list(done.scores),
            "start_time": done.begun_us,
            "end_time": done.ended_us,
            "elapsed_time": done.elapsed_us,
            "total_inferences": 1,
            "iterations": done.iterations,
            "warmups": done.warmups,
        }
        entry = {"file": sample.file, "classes": str(sample.classes), "class": str(sample.label)}
        self.records.append({**entry, "infer": infer, "mode": mode})
        return infer

    def files(self) -> dict[str, str]:
        """Name to text of the files of a submission."""
        return {
            "log.txt": "\n".join([*self.log, ""]),
            "results.txt": "\n".join([*self.results, ""]),
            "results.json": json.dumps(self.records) + "\n",
        }


def run_accuracy(device: MlperfDevice, samples: Sequence[Sample], progress: Progress) -> Session:
    """Every window of every file once, without warm-up.

    Raises:
        LinkError: a sample gave no score.
        DeviceError: the number of scores changes, or is not that of the classes.
    """
    session = _begin(device, "accuracy")
    rows = []
    for number, sample in enumerate(samples):
        windows = []
        for segment, data in enumerate(sample.windows):
            session.say(f"Loading file {sample.file} segment {segment}")
            done = device.run_sample(data, 1, 0)
            _check_scores(done, sample)
            session.say(f"Load complete, read back. m-results: {list(done.scores)}")
            session.record("a", sample, done)
            windows.append(done.scores)
        rows.append(mean_scores(windows))
        progress(number + 1, len(samples))
    scores, labels = np.array(rows), [sample.label for sample in samples]
    top1, area = top1_percent(scores, labels), area_under_curve(scores, labels)
    session.conclude(f"Top 1% = {top1:2.1f}")
    if area is None:
        session.valid = False
        session.conclude("ERROR no area under the curve: the data set does not have samples of every class")
    else:
        session.conclude(f"AUC = {area:.3f}")
    session.quality = quality(device.model, top1, area) or ""
    if session.quality:
        session.say(session.quality)
    _end(session, device)
    return session


def run_performance(
    device: MlperfDevice, samples: Sequence[Sample], progress: Progress, window_s: float = WINDOW_S
) -> Session:
    """Five windows of at least `window_s` by the device's clock, each with a sample of its own; their median.

    Raises:
        LinkError: a sample gave no score.
        DeviceError: the device's clock stands still, or a window cannot be made long enough.
    """
    session = _begin(device, "performance")
    iterations = _iterations(device, samples[0], window_s)
    throughputs = []
    for window in range(WINDOWS):
        sample = samples[window % len(samples)]
        done, iterations = _window(device, sample, iterations, window_s, session)
        record = session.record("p", sample, done)
        session.conclude(f"Performance results for window {window + 1}: {sample.file}")
        session.conclude(f"  # Inferences : {done.iterations:>13}")
        if not device.name.endswith(_NOT_SILICON):
            throughputs.append(done.iterations / (done.elapsed_us / 1e6))
            record["throughput"] = throughputs[-1]
            session.conclude(f"  Runtime      : {done.elapsed_us / 1e6:>10.3f} sec.")
            session.conclude(f"  Throughput   : {throughputs[-1]:>10.3f} inf./sec.")
        progress(window + 1, WINDOWS)
    if device.name.endswith(_NOT_SILICON):
        session.valid = False
        session.conclude(
            f"ERROR no throughput: {device.name} is not the chip, its seconds are not the chip's"
        )
    else:
        session.conclude(f"Median throughput is {statistics.median(throughputs):>10.3f} inf./sec.")
    _end(session, device)
    return session


def _begin(device: MlperfDevice, mode: str) -> Session:
    session = Session()
    session.say(f"{mode} mode, device {device.name}, model {device.model}, profile {device.profile}")
    return session


def _end(session: Session, device: MlperfDevice) -> None:
    session.say(f"{device.repeats} times something was lost on the way and sent again")


def _check_scores(done: Inference, sample: Sample) -> None:
    if len(done.scores) not in (1, sample.classes):
        raise DeviceError(
            f"expected {sample.classes} scores of {sample.file}, the device gives {len(done.scores)}",
            "Give the --dataset of the device's model",
        )


def _iterations(device: MlperfDevice, sample: Sample, window_s: float) -> int:
    """How many inferences a window needs, of a look at a short one."""
    iterations = 1
    while True:
        elapsed_s = device.run_sample(sample.windows[0], iterations, 0).elapsed_us / 1e6
        if elapsed_s >= min(_FIRST_LOOK_S, window_s):
            return max(1, math.ceil(iterations * window_s * _MARGIN / elapsed_s))
        if iterations > 10_000_000:
            raise DeviceError(f"{iterations} inferences in {elapsed_s:g} s: the device's clock stands still")
        iterations *= 4


def _window(
    device: MlperfDevice, sample: Sample, iterations: int, window_s: float, session: Session
) -> tuple[Inference, int]:
    """One window that is long enough, and how many inferences that took."""
    for _ in range(_WINDOW_ATTEMPTS):
        session.say(f"Loading file {sample.file}, then {_WARMUPS} + {iterations} inferences")
        done = device.run_sample(sample.windows[0], iterations, _WARMUPS)
        if done.elapsed_us >= window_s * 1e6:
            return done, iterations
        session.say(f"Window of {done.elapsed_us / 1e6:.3f} sec. is too short, again with more inferences")
        iterations = max(iterations + 1, math.ceil(iterations * window_s * _MARGIN * 1e6 / done.elapsed_us))
    raise DeviceError(f"no window of {window_s:g} s in {_WINDOW_ATTEMPTS} attempts: its clock is not steady")
