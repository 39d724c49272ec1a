"""Every layer's integers beside the float model's tensor of the same name: what quantisation cost where.

Names are what the two files share; a layer whose name the float model does not know is shown without
figures. Nothing here runs on a device.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.expectation import Expectation
from harness.model.reference import OnnxReference
from harness.model.spec import ModelSpec
from harness.runtimes.base import Array, Artifact
from harness.tensors import Layer, TensorInfo


@dataclass(frozen=True)
class FloatGap:
    """One layer against float. `max_lsb` and `rms_lsb` are in steps of the layer's own scale; `sqnr_db` is
    signal to quantisation noise. None where the float model has no tensor of that name.
    """

    layer: Layer
    partner: str | None
    max_lsb: float | None = None
    rms_lsb: float | None = None
    sqnr_db: float | None = None


def float_layers(
    model: ModelSpec, artifact: Artifact, expected: Expectation, sample: int, layers: Sequence[Array]
) -> list[FloatGap]:
    """One entry a layer, in the order they run; `layers` are the oracle's.

    Raises:
        ModelError: the model has no float .onnx file, or it does not run.
    """
    path = model.artifacts.get("onnx")
    if path is None:
        raise ModelError(
            f"{model.name} has no .onnx file to compare with",
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
        _gap(layer, same.get(layer.output.name) or _partner(layer.output.name, values), tensor, values)
        for layer, tensor in zip(artifact.layers, layers, strict=True)
    ]


def _partner(name: str, values: dict[str, NDArray[np.float32]]) -> str | None:
    """A layer that fuses several operators carries all their names; the last that runs is its output."""
    wanted = {part.strip().removesuffix(":0") for part in name.split(";")}
    return next((known for known in reversed(values) if known.removesuffix(":0") in wanted), None)


def _gap(
    layer: Layer, partner: str | None, tensor: Array, values: dict[str, NDArray[np.float32]]
) -> FloatGap:
    other = None if partner is None else _fitted(values[partner], tensor.shape)
    if other is None:
        return FloatGap(layer, None)
    real = layer.output.dequantise(tensor).astype(np.float64)
    error = real - other
    noise, signal = float(np.mean(error**2)), float(np.mean(other**2))
    return FloatGap(
        layer=layer,
        partner=partner,
        max_lsb=float(np.abs(error).max()) / _step(layer.output),
        rms_lsb=float(np.sqrt(noise)) / _step(layer.output),
        sqnr_db=float("inf") if noise == 0 else float(10 * np.log10(max(signal, 1e-300) / noise)),
    )


def _step(info: TensorInfo) -> float:
    return info.scale if info.quantised else 1.0


def _fitted(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """In the layer's layout: NCHW becomes NHWC where only that fits."""
    for candidate in (values, values.transpose(0, 2, 3, 1) if values.ndim == 4 else values):
        if [size for size in candidate.shape if size != 1] == [size for size in shape if size != 1]:
            return candidate.reshape(shape).astype(np.float64)
    return None


def render(gaps: Sequence[FloatGap]) -> Iterator[str]:
    """A table and the layer at which most is lost."""
    yield f"{'layer':<28}{'SQNR dB':>9}{'max LSB':>10}{'rms LSB':>10}  float tensor"
    for gap in gaps:
        name = f"{gap.layer.index} {gap.layer.op}"
        if gap.sqnr_db is None or gap.max_lsb is None or gap.rms_lsb is None:
            yield f"{name:<28}{'-':>9}{'-':>10}{'-':>10}  none of that name"
            continue
        yield f"{name:<28}{gap.sqnr_db:>9.1f}{gap.max_lsb:>10.2f}{gap.rms_lsb:>10.2f}  {gap.partner}"
    # A layer that only moves its input is exact; what follows it can lose nothing to it.
    known = [(gap.layer, gap.sqnr_db) for gap in gaps if gap.sqnr_db is not None and np.isfinite(gap.sqnr_db)]
    drops = [(before - after, layer) for (_, before), (layer, after) in itertools.pairwise(known)]
    lost, layer = max(drops, key=lambda drop: drop[0], default=(0.0, None))
    if layer is not None and lost > 0:
        yield f"Most is lost at layer {layer.index} {layer.op} ({layer.output.name}): {lost:.1f} dB"
