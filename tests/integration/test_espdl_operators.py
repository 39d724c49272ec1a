"""Every operator of runtime espdl as generated C, 0 LSB on every layer: here with sanitizers, and in QEMU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.boards import choose_board
from harness.link.client import Link
from harness.runtimes.espdl import Espdl
from harness.targets import get_target
from harness.toolchains import bare_metal
from tests.engine_host import assert_exact, random_input
from tests.espdl_builder import EspdlBuilder
from tests.espdl_cases import CASES, CASES16, FAMILIES, network
from tests.firmware_wire import digest8

VARIANTS = ("c", "esp32s3", "esp32p4")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_operators_are_exact(family: str, variant: str, tmp_path: Path) -> None:
    seed = list(FAMILIES).index(family) * len(VARIANTS) + VARIANTS.index(variant)
    count = 2 if family == "tables" else 16
    model, outputs = network(np.random.default_rng(seed), variant, FAMILIES[family], count)
    path = tmp_path / "operators.espdl"
    path.write_bytes(model.build(outputs))
    assert_exact(Espdl().load(path, variant), tmp_path / "project", seed)


def test_every_operator_is_in_a_family() -> None:
    assert sorted(op for family in FAMILIES.values() for op in family) == sorted(CASES)


def test_sums_halfway_between_two_integers(tmp_path: Path) -> None:
    """Every value of an input with shifts 1 to 4: each second, fourth, ... result is a half."""
    every = np.arange(-128, 128).astype(np.int8)
    results = {}
    for variant in ("esp32s3", "esp32p4"):
        model = EspdlBuilder(variant)
        x = model.input("x", (256, 1), 0)
        w = model.filter("w", np.ones((1, 1, 1, 1), np.int8), [0])
        outputs = [model.operator("Gemm", [x, w], f"y{shift}", shift) for shift in range(1, 5)]
        path = tmp_path / f"{variant}.espdl"
        path.write_bytes(model.build(outputs))
        artifact = Espdl().load(path, variant)
        assert_exact(artifact, tmp_path / variant, inferences=[[every.reshape(256, 1)]])
        results[variant] = np.concatenate(Espdl().oracle(artifact).run([every.reshape(256, 1)]))
    assert (results["esp32s3"] != results["esp32p4"]).sum() == 64 + 32 + 16 + 8


@pytest.mark.parametrize(
    ("chip", "variant", "scheme"),
    [
        ("esp32c3", "c", "int8"),
        ("esp32s3", "esp32s3", "int8"),
        ("esp32p4", "esp32p4", "int8"),
        ("esp32c3", "c", "int16"),
        ("esp32s3", "esp32s3", "w8a16"),
        ("esp32p4", "esp32p4", "int16"),
    ],
)
def test_every_operator_is_exact_on(chip: str, variant: str, scheme: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    model, outputs = network(rng, variant, tuple(CASES if scheme == "int8" else CASES16), 2, scheme)
    path = tmp_path / "everything.espdl"
    path.write_bytes(model.build(outputs))
    artifact = Espdl().load(path, variant)
    project = Espdl().generate(artifact, "portable", tmp_path / "project")
    target = get_target(chip)
    image = bare_metal.build(project, target, target.isa_platform, build_root=tmp_path / "build")
    oracle = Espdl().oracle(artifact)
    board, _ = choose_board(target, image)
    inferences = [[random_input(rng, info) for info in artifact.inputs] for _ in range(3)]
    samples = [b"".join(array.tobytes() for array in inputs) for inputs in inferences]
    with board as port:
        link = Link(port, board_state=board.state)
        link.connect()
        link.expect_identity(artifact=artifact.digest, firmware=image.digest, target=chip)
        replies = list(link.infer_stream(samples, layer_digests=True))
    for inputs, reply in zip(inferences, replies, strict=True):
        digests = [digest8(layer.tobytes()) for layer in oracle.run_layers(inputs)]
        wrong = [
            f"{layer.index} {layer.op}"
            for layer, got, expected in zip(artifact.layers, reply.layer_digests, digests, strict=True)
            if got != expected
        ]
        assert wrong == []
        assert reply.output == b"".join(output.tobytes() for output in oracle.run(inputs))
