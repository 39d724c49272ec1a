"""A board whose firmware was not made here, or asks for its images by printing: scores come from its console.

It has no IDENTIFY, so nobody states which chip or model it is; only the output tensor, in integers or in
all decimals that are printed, can stand against the oracle, and layers cannot be read.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.boards.base import Board, Port
from harness.collected import Batch, Keep
from harness.deployment import Deployment
from harness.dialects import Dialect, parse_log, whole_inferences
from harness.dialects.compare import as_output, check_inferences
from harness.dialects.console import Console, Images
from harness.dialects.records import Inference
from harness.errors import LinkError, UnsupportedError
from harness.expectation import Expectation
from harness.items import Item
from harness.link.wirelog import WireLog
from harness.model.reference import Reference
from harness.progress import Progress
from harness.result import Answer, Result, compare
from harness.runtimes.base import Artifact, Oracle


class PrintedDeployment(Deployment):
    def __init__(
        self,
        item: Item,
        artifact: Artifact,
        oracle: Oracle,
        reference: Reference | None,
        board: Board,
        port: Port,
        dialect: Dialect,
        log: WireLog,
        timeout_s: float,
    ) -> None:
        super().__init__(item, artifact, oracle, reference, board, layer_samples=0)
        self._port = port
        self._dialect = dialect
        self._log = log
        self._timeout_s = timeout_s
        self._repeats = 0
        self._notes: tuple[str, ...] = ()

    def close(self) -> None:
        super().close()
        self._log.close()

    def run(
        self,
        expected: Expectation,
        progress: Progress | None = None,
        keep: Keep | None = None,
        kept: Batch | None = None,  # noqa: ARG002 - see below
    ) -> Result:
        """The n-th inference that is printed is the n-th sample, whether the board asked for it or not.

        All are kept at the end: before, none is known to be whole. So there is never a part to go on from.

        Raises, beside what `Deployment.run` does: DataError, UnsupportedError for scores that are not
        whole, or no integers of the output tensor.
        """
        images = Images(expected.payload, expected.samples, self.artifact.digest)
        console = Console(self._port, self._dialect, self._log, images)
        try:
            console.read(expected.samples, self._timeout_s, progress)
        finally:
            self._repeats += console.repeats
        # The board may have been in the midst of one when the reading began, and when it ended.
        printed = whole_inferences(parse_log(console.text, self._dialect.name), expected.samples)
        whole = printed.inferences
        output = self.artifact.outputs[0]
        check_inferences(whole, self.artifact.name, output)
        if len(whole) != expected.samples:
            raise LinkError(f"expected {expected.samples} whole inferences, read {len(whole)}")
        device = as_output(whole, expected.outputs[0].reshape(expected.samples, -1))
        if device is None:
            raise UnsupportedError(
                f"{self.artifact.name} has {output.dtype} outputs, the board prints real scores",
                "Compare real values with: harness parse --port PORT --model MODEL --data FILE.npz",
            )
        outputs = [device.reshape(expected.outputs[0].shape)]
        self._notes = tuple(self._said(whole, console.asked))
        self.result = compare(self.artifact, expected, outputs, [Answer()] * expected.samples)
        if keep is not None:
            keep(Batch(self.result.samples, outputs[0].tobytes()))
        return self.result

    def wire_counts(self) -> dict[str, int]:
        return {"repeated_images": self._repeats}

    def notes(self) -> tuple[str, ...]:
        return self._notes

    def _said(self, printed: Sequence[Inference], asked: bool) -> list[str]:
        notes = [
            f"scores are what the board printed (dialect {self._dialect.name}): its chip and fidelity are "
            "stated by nobody, its layers cannot be read"
        ]
        if decimals := printed[0].decimals:
            notes.append(f"scores are printed with {decimals} decimals: equal in all of them counts as equal")
        if not asked:
            notes.append(
                "the firmware ran images of its own: that the n-th was the n-th sample is taken on trust"
            )
        latencies = [latency for inference in printed for latency in inference.latencies]
        for label, unit in dict.fromkeys((latency.label, latency.unit) for latency in latencies):
            values = [found.value for found in latencies if (found.label, found.unit) == (label, unit)]
            notes.append(
                f"printed latency '{label}': median {statistics.median(values):.10g} {unit or '(no unit)'}, "
                f"{min(values)} to {max(values)}, as the board says"
            )
        return notes
