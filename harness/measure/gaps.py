"""How far apart two sets of outputs are: device and oracle, oracle and float reference.

Plain arithmetic on arrays; it decides nothing (gates do) and knows no model, board or runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records.schema import Accuracy, QuantisationGap, RuntimeGap

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Difference:
    """Two tensors of equal shape and dtype: the largest distance and how many elements differ."""

    max_lsb: int
    mismatching_elements: int


def distance_lsb(device: Array, oracle: Array) -> NDArray[np.uint64]:
    """|device - oracle| for each element, exact over the whole range of the integer type.

    For float32 one LSB is one unit in the last place: the number of representable values between
    the two (0 between -0.0 and 0.0).

    Raises:
        ValueError: shapes or dtypes differ, or the dtype has no LSB.
    """
    if device.shape != oracle.shape or device.dtype != oracle.dtype:
        raise ValueError(f"{device.dtype}{device.shape} compared with {oracle.dtype}{oracle.shape}")
    a, b = _ordered(device), _ordered(oracle)
    # As uint64 the subtraction wraps to the true distance even where int64 would overflow.
    return np.maximum(a, b).astype(np.uint64) - np.minimum(a, b).astype(np.uint64)


def _ordered(values: Array) -> NDArray[np.int64]:
    if values.dtype == np.float32:
        bits = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
        # Sign and magnitude to a number line: the float order is the integer order.
        return np.asarray(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits), dtype=np.int64)
    if values.dtype == np.bool_ or (np.issubdtype(values.dtype, np.integer) and values.dtype != np.uint64):
        return values.astype(np.int64)
    raise ValueError(f"no LSB is defined for {values.dtype}")


def difference(device: Array, oracle: Array) -> Difference:
    """The two numbers for one tensor or one layer; raises as `distance_lsb`."""
    distance = distance_lsb(device, oracle)
    return Difference(int(distance.max(initial=0)), int(np.count_nonzero(distance)))


def runtime_gap(
    distance: NDArray[np.uint64],
    layer_samples: int = 0,
    layers: int = 0,
    mismatching_layers: tuple[str, ...] = (),
) -> RuntimeGap:
    """From the distances (N, elements of all outputs) that `distance_lsb` gives; N may not be 0.

    `layer_samples` inferences had each of their `layers` layers compared too; the names of those
    that differed are `mismatching_layers`.
    """
    _require_samples(distance)
    wrong = np.count_nonzero(distance.reshape(len(distance), -1), axis=1)
    return RuntimeGap(
        max_lsb=int(distance.max()),
        mismatching_elements=int(wrong.sum()),
        elements=int(distance.size),
        mismatching_samples=int(np.count_nonzero(wrong)),
        samples=len(distance),
        layer_samples=layer_samples,
        layers=layers,
        mismatching_layers=mismatching_layers,
    )


def quantisation_gap(
    oracle: Array, reference: Array, name: str, *, classifies: bool = True
) -> QuantisationGap:
    """Real-valued outputs (N, elements): the oracle's, dequantised, and the float reference `name`.

    Differences are over all elements, in the output's own unit. The cosine is the mean of the
    samples' cosines; a single output has no direction, so its N values count as one vector. `classifies`: the
    elements are scores of classes, whose arg max means something.
    """
    a, b = _matrix(oracle), _matrix(reference)
    if a.shape != b.shape:
        raise ValueError(f"oracle {a.shape} compared with reference {b.shape}")
    delta = np.abs(a - b)
    several = a.shape[1] > 1
    cosines = _cosines(a, b) if several else _cosines(a.T, b.T)
    return QuantisationGap(
        reference=name,
        agreement=float(np.mean(classes(a) == classes(b))) if several and classifies else None,
        max_abs=float(delta.max()),
        mean_abs=float(delta.mean()),
        rmse=float(np.sqrt(np.mean(delta**2))),
        cosine=float(cosines.mean()),
        samples=len(a),
        snr_db=_snr_db(a - b, b),
    )


def _snr_db(noise: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    power, lost = float(np.sum(signal**2)), float(np.sum(noise**2))
    if not lost:
        return math.inf
    return 10 * math.log10(power / lost) if power else -math.inf


def classes(scores: Array) -> NDArray[np.int64]:
    """Arg max of each sample of (N, ...); of equal scores the first wins, as in TFLite's examples."""
    return np.asarray(np.argmax(scores.reshape(len(scores), -1), axis=1), dtype=np.int64)


def accuracy(
    labels: NDArray[np.int64] | None,
    device: Array | None,
    oracle: Array | None,
    reference: Array | None,
) -> Accuracy:
    """Top-1 of each set of scores (N, elements) that is given; quantised scores do as they are.

    None without labels, without scores, and for a single output, which has no arg max.
    """

    def top1(scores: Array | None) -> float | None:
        if labels is None or scores is None or scores.size == len(scores):
            return None
        return float(np.mean(classes(scores) == labels))

    given = [len(scores) for scores in (device, oracle, reference) if scores is not None]
    if labels is not None and any(samples != len(labels) for samples in given):
        raise ValueError(f"{len(labels)} labels for {given} samples")
    return Accuracy(top1(device), top1(oracle), top1(reference), max(given, default=0))


def _matrix(values: Array) -> NDArray[np.float64]:
    _require_samples(values)
    return values.reshape(len(values), -1).astype(np.float64)


def _require_samples(values: Array) -> None:
    if values.size == 0:
        raise ValueError("no samples to compare")


def _cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row; 1 where both rows are zero, 0 where one is."""
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = norm_a * norm_b
    cosine = np.sum(a * b, axis=1) / np.where(product > 0, product, 1.0)
    both_zero = (norm_a == 0) & (norm_b == 0)
    return np.asarray(np.where(product > 0, cosine, both_zero), dtype=np.float64)
