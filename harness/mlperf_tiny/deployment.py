"""A model on a device that speaks the MLPerf Tiny dialect, whoever made its firmware.

Each input is read back before it runs, each answer asked for twice (`harness.mlperf_tiny.device`). The device
prints real values with a few decimals and no layers; which chip and which file it is, it only claims.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.boards.base import Board, Port
from harness.collected import Batch, Keep
from harness.deployment import Deployment
from harness.errors import DeviceError, UnsupportedError
from harness.expectation import Expectation
from harness.items import Item
from harness.link.wirelog import Direction, WireLog
from harness.mlperf_tiny.dataset import PIXEL_ZERO_POINT
from harness.mlperf_tiny.device import Inference, MlperfDevice
from harness.model.reference import Reference
from harness.progress import Progress
from harness.result import Answer, Result, compare
from harness.runtimes.base import Array, Artifact, Oracle
from harness.tensors import TensorInfo

NAME = "mlperf"
RUNTIME = "tflm"
"""What such firmware is taken to run, where --runtime does not say."""

DECIMALS = 3


class MlperfDeployment(Deployment):
    """Made by `Bench.deploy` for `--dialect mlperf`.

    Raises, when made:
        UnsupportedError: a model with several inputs or outputs, or that are not int8.
        SilentError, LinkError: no device that speaks the dialect.
    """

    def __init__(
        self,
        item: Item,
        artifact: Artifact,
        oracle: Oracle,
        reference: Reference | None,
        board: Board,
        port: Port,
        log: WireLog,
        timeout_s: float,
    ) -> None:
        super().__init__(item, artifact, oracle, reference, board, layer_samples=0)
        check_tensors(artifact.name, artifact.inputs, artifact.outputs)
        self._log = log
        self._device = MlperfDevice(_LoggedPort(port, log), infer_timeout_s=timeout_s)
        self._device.connect()
        self._times_us: list[int] = []

    def close(self) -> None:
        super().close()
        self._log.close()

    def run(
        self,
        expected: Expectation,
        progress: Progress | None = None,
        keep: Keep | None = None,
        kept: Batch | None = None,  # noqa: ARG002 - all are kept at the end: there is no part to go on from
    ) -> Result:
        output, exact = self.artifact.outputs[0], expected.outputs[0].reshape(expected.samples, -1)
        rows: list[tuple[float, ...]] = []
        answers: list[Answer] = []
        for sample in range(expected.samples):
            repeats = self._device.repeats
            payload = as_sent(expected.payload(sample), self.artifact.inputs[0])
            done = self._device.run_sample(payload, iterations=1, warmups=0)
            rows.append(self._checked(done, output))
            self._times_us.append(done.elapsed_us)
            answers.append(Answer(retries=self._device.repeats - repeats))
            if progress is not None:
                progress(sample + 1, expected.samples)
        integers = as_integers(np.array(rows), exact, output)
        self.result = compare(self.artifact, expected, [integers.reshape(expected.outputs[0].shape)], answers)
        if keep is not None:
            keep(Batch(self.result.samples, integers.tobytes()))
        return self.result

    def wire_counts(self) -> dict[str, int]:
        return {"repeated_samples": self._device.repeats}

    def notes(self) -> tuple[str, ...]:
        device, output = self._device, self.artifact.outputs[0]
        said = [
            f"the device says that it is {device.name} with model {device.model} ({device.profile}): its "
            "chip and fidelity are not checked, its layers cannot be read",
            f"scores are printed with {DECIMALS} decimals: equal in all of them counts as equal",
        ]
        if self.artifact.inputs[0].zero_point == PIXEL_ZERO_POINT:
            said.append(
                "the input's zero point is -128: it was sent as pixels, 0 to 255 (docs/mlperf_tiny.md)"
            )
        if output.scale < 10.0**-DECIMALS:
            said.append(
                f"one LSB of the output is {output.scale:.3g}: neighbours may print the same decimals"
            )
        if self._times_us:
            said.append(
                f"m-lap-us around one inference: median {statistics.median(self._times_us):.10g} us, "
                f"{min(self._times_us)} to {max(self._times_us)}, as the device says"
            )
        return tuple(said)

    def _checked(self, done: Inference, output: TensorInfo) -> tuple[float, ...]:
        if len(done.scores) != output.elements:
            raise DeviceError(
                f"expected {output.elements} scores of {self.artifact.name}, the device gives "
                f"{len(done.scores)} as model {self._device.model}",
                "Give the --model that the device runs; the reference anomaly detector (ad01) scores itself: "
                "harness mlperf-tiny",
            )
        return done.scores


class _LoggedPort:
    """The port, with all that passes written to the wire log."""

    def __init__(self, port: Port, log: WireLog) -> None:
        self._port = port
        self._log = log

    def read(self, timeout_s: float) -> bytes:
        data = self._port.read(timeout_s)
        if data:
            self._log.data(Direction.FROM_DEVICE, data)
            self._log.text(data)
        return data

    def write(self, data: bytes) -> None:
        self._log.data(Direction.TO_DEVICE, data)
        self._port.write(data)

    def set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)


def check_tensors(model: str, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
    """Raises UnsupportedError for a model whose tensors the dialect cannot carry."""
    tensors = [*inputs, *outputs]
    if len(inputs) != 1 or len(outputs) != 1 or any(tensor.dtype != "int8" for tensor in tensors):
        raise UnsupportedError(
            "--dialect mlperf: the dialect has one int8 input and one int8 output, "
            f"{model} has {', '.join(f'{tensor.name} {tensor.dtype}' for tensor in tensors)}"
        )


def as_sent(payload: bytes, tensor: TensorInfo) -> bytes:
    """The bytes of an int8 input as the dialect has them: pixels 0...255 where the zero point is -128.

    That is the reference devices' rule for their images (ic01, vww01), which subtract 128.
    """
    if tensor.zero_point != PIXEL_ZERO_POINT:
        return payload
    return bytes((np.frombuffer(payload, np.uint8) ^ 0x80).tobytes())


def as_integers(printed: NDArray[np.float64], exact: NDArray[np.generic], output: TensorInfo) -> Array:
    """Printed real values (samples, elements) as integers of the output tensor.

    Where all decimals are those of the oracle's `exact`, its integer is taken, as nothing speaks against
    it; elsewhere the integer nearest to what was printed, within the type's range.
    """
    real = np.asarray(output.dequantise(exact), np.float64)
    limits = np.iinfo(output.dtype)
    nearest = np.clip(np.rint(printed / output.scale) + output.zero_point, limits.min, limits.max)
    # Half a unit of the last decimal, and what binary fractions are off by.
    same = np.abs(printed - real) <= 0.5 * 10.0**-DECIMALS * (1 + 1e-6)
    return np.where(same, exact, nearest).astype(exact.dtype)
