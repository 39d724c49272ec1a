"""Calibration: each tensor's range over real inputs, and from it the exponent of its power-of-two scale.

The rules are those of esp-dl v1's closed calibrator as its published tables show them: minmax for
int16 and int8, Kullback-Leibler divergence ("entropy") for int8 only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, ModelError, UsageError, first_line
from harness.runtimes.espdl_v1.graph import Graph
from harness.runtimes.espdl_v1.network import Network

BITS = (8, 16)
GRANULARITIES = ("per-tensor", "per-channel")
METHODS = ("minmax", "entropy")
HISTOGRAM_BINS = 2048


@dataclass(frozen=True)
class Scheme:
    """How to quantise: `bits` 8 or 16; per-channel and entropy are for 8 bits only.

    Raises:
        UsageError: a combination that v1 has not.
    """

    bits: int
    granularity: str = "per-tensor"
    method: str = "minmax"

    def __post_init__(self) -> None:
        for value, known in ((self.granularity, GRANULARITIES), (self.method, METHODS)):
            if value not in known:
                raise UsageError(f"expected {' or '.join(known)}, came '{value}'")
        if self.bits not in BITS:
            raise UsageError(f"expected 8 or 16 bits, came {self.bits}")
        for value, plain in ((self.granularity, GRANULARITIES[0]), (self.method, METHODS[0])):
            if self.bits == 16 and value != plain:
                raise UsageError(f"int16 has {plain} only, came '{value}'", f"Use {plain}, or 8 bits")

    @property
    def name(self) -> str:
        """int16, int8-per-channel-entropy: the width, and what is not as simple as can be."""
        choices = ((self.granularity, GRANULARITIES[0]), (self.method, METHODS[0]))
        return "-".join([f"int{self.bits}", *(value for value, plain in choices if value != plain)])

    @property
    def per_channel(self) -> bool:
        return self.granularity == "per-channel"

    @property
    def c_type(self) -> str:
        return f"int{self.bits}_t"


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(16),
        *(Scheme(8, granularity, method) for granularity in GRANULARITIES for method in METHODS),
    )
}
"""By name; that of the tutorials first."""


def exponent_of(largest: float, bits: int) -> int:
    """e = ceil(log2(largest / 2^(bits-1))): the smallest scale 2^e whose integers reach `largest`.

    What is zero everywhere gets the range -1..1. `largest` = 2^n exactly saturates by 1 LSB, as
    in the published tables.
    """
    if largest == 0.0:
        return 1 - bits
    mantissa, exponent = math.frexp(largest)
    return (exponent - 1 if mantissa == 0.5 else exponent) - (bits - 1)


def calibrate(graph: Graph, network: Network, samples: NDArray[np.float32], scheme: Scheme) -> dict[str, int]:
    """The exponent of the input and of every tensor that sets one (`Layer.tensor`), by ONNX name.

    Args:
        graph: the optimised graph `network` was read from.
        samples: real values (N, *ONNX input shape without batch).

    Raises:
        DataError: no samples, or values that are not finite, in the data or inside the network.
        ModelError: onnxruntime does not run the graph.
    """
    if len(samples) == 0:
        raise DataError("the calibration set is empty", "Give some hundred samples of real data")
    names = [layer.tensor for layer in network.layers if layer.filter is not None]
    ranges = {name: _Range(scheme) for name in (network.input, *names)}
    session = _session(graph, tuple(names))
    for sweep in range(2 if scheme.method == "entropy" else 1):
        for sample in samples:
            fed = sample.reshape(graph.input_shape).astype(np.float32)
            values = session.run(names, {network.input: fed}) if names else []
            for name, array in zip((network.input, *names), (fed, *values), strict=True):
                _check_finite(name, array)
                ranges[name].add(array, sweep)
    return {name: exponent_of(found.threshold(), scheme.bits) for name, found in ranges.items()}


def kl_threshold(histogram: NDArray[np.int64], largest: float, levels: int = 128) -> float:
    """The clipping threshold whose quantised distribution diverges least (Migacz, 8-bit Inference
    with TensorRT, GTC 2017).

    Args:
        histogram: counts of |x| in equal bins from 0 to `largest`.
        levels: magnitudes an integer can hold.
    """
    counts = histogram.astype(np.float64)
    best, best_divergence = len(counts), math.inf
    for end in range(levels, len(counts) + 1):
        reference = counts[:end].copy()
        reference[-1] += counts[end:].sum()
        kept = counts[:end]
        starts = np.arange(levels) * end // levels
        occupied = (kept > 0).astype(np.float64)
        sums, filled = np.add.reduceat(kept, starts), np.add.reduceat(occupied, starts)
        mean = np.divide(sums, filled, out=np.zeros(levels), where=filled > 0)
        widths = np.diff(np.append(starts, end))
        candidate = np.repeat(mean, widths) * occupied
        divergence = _divergence(reference, candidate)
        if divergence < best_divergence:
            best, best_divergence = end, divergence
    return largest * best / len(counts)


class _Range:
    """What one tensor was seen to hold; the second sweep is for the histogram."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._largest = 0.0
        self._histogram = np.zeros(HISTOGRAM_BINS, dtype=np.int64)

    def add(self, values: NDArray[np.generic], sweep: int) -> None:
        magnitudes = np.abs(values).astype(np.float64)
        if sweep == 0:
            self._largest = max(self._largest, float(magnitudes.max()))
        elif self._largest > 0.0:
            self._histogram += np.histogram(magnitudes, HISTOGRAM_BINS, (0.0, self._largest))[0]

    def threshold(self) -> float:
        if self._scheme.method == "minmax" or self._largest == 0.0:
            return self._largest
        return kl_threshold(self._histogram, self._largest)


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """KL(p || q) of two histograms; infinite where q has nothing and p has."""
    if q.sum() == 0.0 or np.any((p > 0) & (q == 0)):
        return math.inf
    mask = p > 0
    p, q = p[mask] / p.sum(), q[mask] / q.sum()
    return float(np.sum(p * np.log(p / q)))


def _check_finite(name: str, values: NDArray[np.generic]) -> None:
    if not np.isfinite(values).all():
        raise DataError(f"tensor {name} takes NaN or infinity on the calibration set")


def _session(graph: Graph, outputs: tuple[str, ...]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            graph.to_model(outputs).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a dozen exception classes and no common base
        raise ModelError(f"onnxruntime cannot run the model: {first_line(error)}") from error
