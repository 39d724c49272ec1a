"""Every operator on both instruction sets: one firmware with all of them, in QEMU, against the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.boards import choose_board
from harness.link.client import Link
from harness.runtimes.planned import PlannedArtifact
from harness.runtimes.tflm import Tflm
from harness.targets import get_target
from harness.toolchains import bare_metal
from tests import int16x8_cases
from tests.engine_host import random_input
from tests.firmware_wire import digest8
from tests.operator_cases import CASES
from tests.tflite_builder import ModelBuilder


@pytest.fixture(scope="module", params=["int8", "int16x8"])
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PlannedArtifact:
    """Two configurations of each operator, side by side in one model."""
    rng = np.random.default_rng(11)
    network = ModelBuilder()
    outputs = [output for case in CASES.values() for _ in range(2) for output in case(rng, network)]
    path = tmp_path_factory.mktemp("everything") / "everything.tflite"
    int16x8 = request.param == "int16x8"
    path.write_bytes(
        int16x8_cases.bundle([*int16x8_cases.CASES], 11, 2) if int16x8 else network.build(outputs)
    )
    artifact = Tflm().load(path)
    assert artifact.scheme == request.param
    return artifact


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_every_operator_is_exact_on(chip: str, everything: PlannedArtifact, tmp_path: Path) -> None:
    project = Tflm().generate(everything, "portable", tmp_path / "project")
    target = get_target(chip)
    image = bare_metal.build(project, target, target.isa_platform, build_root=tmp_path / "build")
    oracle = Tflm().oracle(everything)
    board, _ = choose_board(target, image)
    rng = np.random.default_rng(12)
    inferences = [[random_input(rng, info) for info in everything.inputs] for _ in range(3)]
    samples = [b"".join(array.tobytes() for array in inputs) for inputs in inferences]
    with board as port:
        link = Link(port, board_state=board.state)
        link.connect()
        link.expect_identity(artifact=everything.digest, firmware=image.digest, target=chip)
        replies = list(link.infer_stream(samples, layer_digests=True))
    for inputs, reply in zip(inferences, replies, strict=True):
        digests = [digest8(layer.tobytes()) for layer in oracle.run_layers(inputs)]
        wrong = [
            f"{layer.index} {layer.op}"
            for layer, got, expected in zip(everything.layers, reply.layer_digests, digests, strict=True)
            if got != expected
        ]
        assert wrong == []
        assert reply.output == b"".join(output.tobytes() for output in oracle.run(inputs))
