"""Exponents for the activations of a float network, from what they hold on typical inputs.

One sweep finds each tensor's largest magnitude, a second one its histogram; every method then reads
the same histogram. Knows nothing of QDQ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, ModelError, first_line
from harness.runtimes.espdl_v1.calibrate import kl_threshold

METHODS = ("minmax", "entropy", "mse")
BINS = 2048
LARGEST = 127
EMPTY_EXPONENT = -7
FINER_STEPS = 4


def exponent_of(largest: float) -> int:
    """ceil(log2(largest / 127)), ESP-DL's rule for int8 (v2.0 tools/tvm, conver_scale_to_2_exponent)."""
    if largest == 0.0:
        return EMPTY_EXPONENT
    mantissa, exponent = math.frexp(largest / LARGEST)
    return exponent - 1 if mantissa == 0.5 else exponent


@dataclass
class Histogram:
    """Counts of x >= 0 and of x < 0, by |x| in equal bins from 0 to `largest`."""

    largest: float
    counts: NDArray[np.int64]

    def exponent(self, method: str) -> int:
        """minmax loses no value; entropy clips where the distributions diverge least; mse takes the
        exponent, of minmax's and the next finer ones, with the least squared error."""
        widest = exponent_of(self.largest)
        if method == "minmax" or self.largest == 0.0:
            return widest
        if method == "entropy":
            return exponent_of(kl_threshold(self.counts.sum(axis=0), self.largest))
        # Upper edges: where most of a tensor sits at its limit, that limit is what counts.
        edges = np.arange(1, BINS + 1) * self.largest / BINS
        signed = np.stack([edges, -edges])
        errors = {
            exponent: float((self.counts * (_rounded(signed, exponent) - signed) ** 2).sum())
            for exponent in range(widest, widest - FINER_STEPS, -1)
        }
        return min(errors, key=lambda exponent: errors[exponent])


def _rounded(values: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    scale = 2.0**exponent
    return np.asarray(np.clip(np.rint(values / scale), -LARGEST - 1, LARGEST) * scale)


def histograms(model: Any, names: Sequence[str], samples: NDArray[np.float32]) -> dict[str, Histogram]:
    """What the tensors `names` of an ONNX model hold over `samples` (N, *input shape).

    Raises:
        DataError: values that are not finite, in the data or inside the network.
        ModelError: onnxruntime does not run the model.
    """
    session = _session(model)
    (source,) = session.get_inputs()
    computed = [name for name in names if name != source.name]
    largest = dict.fromkeys(names, 0.0)
    counts = {name: np.zeros((2, BINS), np.int64) for name in names}
    for sweep in (0, 1):
        for sample in samples:
            fed = sample.reshape(source.shape)
            values = dict(zip(computed, session.run(computed, {source.name: fed}), strict=True))
            for name, array in {source.name: fed, **values}.items():
                if not np.isfinite(array).all():
                    raise DataError(f"tensor '{name}' takes NaN or infinity on the calibration set")
                if sweep == 0:
                    largest[name] = max(largest[name], float(np.abs(array).max(initial=0)))
                elif largest[name] > 0.0:
                    parts = (array[array >= 0], -array[array < 0])
                    for side, part in zip(counts[name], parts, strict=True):
                        side += np.histogram(part, BINS, (0.0, largest[name]))[0]
    return {name: Histogram(largest[name], counts[name]) for name in names}


def scores(model: Any, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output of a QDQ model, (N, elements), node by node: onnxruntime then gives the file's own
    integers, as the oracle does, and in a tenth of the time."""
    session = _session(model, as_written=True)
    (source,) = session.get_inputs()
    results = [session.run(None, {source.name: sample.reshape(source.shape)})[0] for sample in samples]
    return np.stack(results).reshape(len(samples), -1)


def _session(model: Any, as_written: bool = False) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a dozen exception classes and no common base
        raise ModelError(f"onnxruntime cannot run the model: {first_line(error)}") from error
