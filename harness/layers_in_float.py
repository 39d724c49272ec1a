"""Every layer's integers beside the tensor of the float model that they stand for: what was lost where.

Partners are found by what tensors hold: converters rename and fuse, so that names alone find few. Nothing
here runs on a device.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.expectation import Expectation
from harness.model.keras_onnx import float_onnx
from harness.model.reference import OnnxReference
from harness.model.spec import ModelSpec
from harness.runtimes.base import Array, Artifact
from harness.tensors import Layer, TensorInfo

ALIKE = 0.25
"""A tensor of another name is a partner where the noise is at most this share of its signal (6 dB): tensors
that have nothing to do with each other are at 0 dB or below."""

Reals = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class FloatGap:
    """One layer against float. `max_lsb` and `rms_lsb` are in steps of the layer's own scale; `sqnr_db` is
    signal to quantisation noise. None where the float model has no such tensor.
    """

    layer: Layer
    partner: str | None
    max_lsb: float | None = None
    rms_lsb: float | None = None
    sqnr_db: float | None = None


def float_layers(
    model: ModelSpec, artifact: Artifact, expected: Expectation, sample: int, layers: Sequence[Array]
) -> list[FloatGap]:
    """One entry a layer, in the order they run; `layers` are the oracle's, or a device's.

    Raises:
        ModelError: the model has no float file, or it does not run.
        UnsupportedError: its Keras file has a layer that is not converted.
    """
    path = float_onnx(model)
    if path is None:
        raise ModelError(
            f"{model.name} has no .onnx or Keras file to compare with",
            "Give a model.toml that names one in [artifacts]",
        )
    real = [
        info.dequantise(tensor[sample : sample + 1])
        for info, tensor in zip(artifact.inputs, expected.inputs, strict=True)
    ]
    values, output = OnnxReference.tensors(path, real)
    # Converters rename the output.
    same = {artifact.outputs[0].name: output}
    return [
        _gap(layer, layer.output.dequantise(tensor), values, same.get(layer.output.name))
        for layer, tensor in zip(artifact.layers, layers, strict=True)
    ]


def _gap(layer: Layer, tensor: NDArray[np.float32], values: Reals, output: str | None) -> FloatGap:
    found = _partner(tensor, values, _namesakes(layer.output.name, values) | {output})
    if found is None:
        return FloatGap(layer, None)
    partner, error, noise = found
    return FloatGap(
        layer=layer,
        partner=partner,
        max_lsb=float(np.abs(error).max()) / _step(layer.output),
        rms_lsb=float(np.sqrt(np.mean(error**2))) / _step(layer.output),
        sqnr_db=float("inf") if noise == 0 else float(-10 * np.log10(noise)),
    )


def _namesakes(name: str, values: Reals) -> set[str | None]:
    """A layer that fuses several operators carries all their names; some carry the first one's alone."""
    wanted = {part.strip().removesuffix(":0") for part in name.split(";")}
    return {known for known in values if known.removesuffix(":0") in wanted}


def _partner(
    tensor: NDArray[np.float32], values: Reals, namesakes: set[str | None]
) -> tuple[str, NDArray[np.float64], float] | None:
    """The tensor that it is most like, a namesake before others; the error, and noise over signal.

    A name alone is not enough: a layer with its activation may be named after what comes before that.
    """
    found = []
    for name, reals in values.items():
        for other in _layouts(reals, tensor.shape):
            error = tensor.astype(np.float64) - other
            noise = _noise(error, other)
            if name in namesakes or noise <= ALIKE:
                found.append((noise, name not in namesakes, name, error))
    if not found:
        return None
    noise, _, name, error = min(found, key=lambda one: one[:2])
    return name, error, noise


def _noise(error: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    noise = float(np.sum(error**2))
    return noise / max(float(np.sum(signal**2)), 1e-300) if noise else 0.0


def _layouts(values: NDArray[np.float32], shape: tuple[int, ...]) -> Iterator[NDArray[np.float64]]:
    """As the tensor lies, and with channels last, as far as that fits the layer's shape."""
    turned = [values.transpose(0, *range(2, values.ndim), 1)] if values.ndim in (3, 4) else []
    for candidate in (values, *turned):
        if [size for size in candidate.shape if size != 1] == [size for size in shape if size != 1]:
            yield candidate.reshape(shape).astype(np.float64)


def _step(info: TensorInfo) -> float:
    return info.scale if info.quantised else 1.0


def render(gaps: Sequence[FloatGap]) -> Iterator[str]:
    """A table and the layer at which most is lost."""
    yield f"{'layer':<28}{'SQNR dB':>9}{'max LSB':>10}{'rms LSB':>10}  float tensor"
    for gap in gaps:
        name = f"{gap.layer.index} {gap.layer.op}"
        if gap.sqnr_db is None or gap.max_lsb is None or gap.rms_lsb is None:
            yield f"{name:<28}{'-':>9}{'-':>10}{'-':>10}  none like it"
            continue
        yield f"{name:<28}{gap.sqnr_db:>9.1f}{gap.max_lsb:>10.2f}{gap.rms_lsb:>10.2f}  {gap.partner}"
    # A layer that only moves its input is exact; what follows it can lose nothing to it.
    known = [(gap.layer, gap.sqnr_db) for gap in gaps if gap.sqnr_db is not None and np.isfinite(gap.sqnr_db)]
    drops = [(before - after, layer) for (_, before), (layer, after) in itertools.pairwise(known)]
    lost, layer = max(drops, key=lambda drop: drop[0], default=(0.0, None))
    if layer is not None and lost > 0:
        name = layer.output.name.split(";")[0]
        yield f"Most is lost at layer {layer.index} {layer.op} ({name}): {lost:.1f} dB"
