"""Runtime espdl-v1 as generated C, 0 LSB on every layer: here with sanitizers, and in QEMU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.boards import choose_board
from harness.link.client import Link
from harness.link.messages import InferenceReply
from harness.portable.ops.espdl_v1 import FlooredSums
from harness.runtimes.base import Array
from harness.runtimes.espdl_v1 import EspdlV1, EspdlV1Artifact
from harness.runtimes.espdl_v1.artifact import write_artifact
from harness.runtimes.espdl_v1.assemble import Stated, assemble
from harness.runtimes.espdl_v1.calibrate import SCHEMES, Scheme
from harness.runtimes.espdl_v1.export import export_v1
from harness.targets import get_target
from harness.toolchains import bare_metal
from tests.engine_host import assert_exact, random_input
from tests.espdl_v1_cases import network
from tests.firmware_wire import digest8

WIDTHS = ("int16", "int8", "int8-per-channel")
TUTORIAL = Path(__file__).parents[3] / "shared" / "data" / "esp_dl_v1_tutorial"


def load(scheme: str, seed: int, last: str, path: Path) -> EspdlV1Artifact:
    path.write_bytes(write_artifact(network(np.random.default_rng(seed), SCHEMES[scheme], last)))
    return EspdlV1().load(path) if scheme == "int16" else EspdlV1(scheme).load(path)


def run_emulated(
    artifact: EspdlV1Artifact, chip: str, inferences: Sequence[Sequence[Array]], scratch: Path
) -> list[InferenceReply]:
    """The answers of a QEMU board, each with the digest of every layer."""
    target = get_target(chip)
    runtime = EspdlV1(artifact.scheme)
    project = runtime.generate(artifact, "portable", scratch / chip)
    image = bare_metal.build(project, target, target.isa_platform, build_root=scratch / "build")
    board, _ = choose_board(target, image)
    with board as port:
        link = Link(port, board_state=board.state)
        link.connect()
        link.expect_identity(artifact=artifact.digest, firmware=image.digest, target=chip)
        samples = [b"".join(array.tobytes() for array in inputs) for inputs in inferences]
        return list(link.infer_stream(samples, layer_digests=True))


@pytest.mark.parametrize("scheme", WIDTHS)
@pytest.mark.parametrize("seed", range(4))
def test_random_networks_are_exact(scheme: str, seed: int, tmp_path: Path) -> None:
    last = "Sigmoid" if seed % 2 else "Softmax"
    artifact = load(scheme, seed, last, tmp_path / "net.espdlv1")
    assert_exact(artifact, tmp_path / "project", seed)


def test_the_random_networks_reach_every_way_to_scale_a_sum(tmp_path: Path) -> None:
    sums = [
        step.sums
        for scheme in WIDTHS
        for seed in range(4)
        for step in load(scheme, seed, "Softmax", tmp_path / "net.espdlv1").plan.steps
        if isinstance(getattr(step, "sums", None), FlooredSums)
    ]
    assert {(each.late is not None, each.up != (1,), each.wide) for each in sums} >= {
        (False, False, False),  # int8, bias in the sum
        (False, False, True),  # int16, 64 bits
        (False, True, False),  # int8 per channel, shifted by less than 4
        (True, True, True),  # scaled up, bias afterwards
    }
    assert any(each.leaky for each in sums)


def test_per_channel_with_one_channel(tmp_path: Path) -> None:
    """The smallest net of the tutorials, one neuron: its bias is that of the per-channel scheme."""
    neuron = Stated(
        "Conv2D",
        "neuron",
        output_exponent=-5,
        filter=np.full((1, 1, 1, 1), 93),
        filter_exponents=(-7,),
        bias=np.array([1000]),
    )
    made = assemble("x", (1, 1, 1), -7, SCHEMES["int8-per-channel"], [neuron, Stated("Sigmoid", "y")])
    path = tmp_path / "neuron.espdlv1"
    path.write_bytes(write_artifact(made))
    artifact = EspdlV1("int8-per-channel").load(path)
    every = [[np.full((1, 1, 1, 1), value, np.int8)] for value in range(-128, 128)]
    assert_exact(artifact, tmp_path / "project", inferences=every)


@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
@pytest.mark.parametrize(("scheme", "last"), [("int16", "Sigmoid"), ("int8-per-channel", "Softmax")])
def test_every_layer_is_exact_on(chip: str, scheme: str, last: str, tmp_path: Path) -> None:
    artifact = load(scheme, 0, last, tmp_path / "net.espdlv1")
    oracle = EspdlV1(scheme).oracle(artifact)
    rng = np.random.default_rng(5)
    inferences = [[random_input(rng, artifact.inputs[0])] for _ in range(3)]
    replies = run_emulated(artifact, chip, inferences, tmp_path)
    for inputs, reply in zip(inferences, replies, strict=True):
        digests = [digest8(layer.tobytes()) for layer in oracle.run_layers(inputs)]
        assert list(reply.layer_digests) == digests
        assert reply.output == oracle.run(inputs)[0].tobytes()


@pytest.mark.parametrize("last", ["Softmax", "Sigmoid"])
@pytest.mark.parametrize("exponent", [-15, -6, 20])
def test_floats_from_nothing_to_infinity(last: str, exponent: int, tmp_path: Path) -> None:
    """Where exp_fast underflows, and where it overflows and the chip would answer NaN."""
    made = network(np.random.default_rng(0), SCHEMES["int16"], last)
    layer = dataclasses.replace(
        made.layers[-1], reads=(-1,), input_exponent=exponent, output_exponent=exponent
    )
    only = dataclasses.replace(made, layers=(layer,), input_exponent=exponent)
    shape = dataclasses.replace(only.network, input_shape=layer.layer.input_shape)
    path = tmp_path / "last.espdlv1"
    path.write_bytes(write_artifact(dataclasses.replace(only, network=shape)))
    artifact = EspdlV1().load(path)
    rng = np.random.default_rng(exponent % 97)
    spread = [rng.integers(-(1 << bits), 1 << bits, artifact.inputs[0].shape) for bits in range(16)]
    inferences = [[values.astype(np.int16)] for values in spread]
    assert_exact(artifact, tmp_path / "project", inferences=inferences)
    results = np.concatenate([EspdlV1().oracle(artifact).run(inputs)[0] for inputs in inferences])
    assert bool(np.isnan(results).any()) == (exponent > (-9 if last == "Sigmoid" else -7))


@pytest.mark.skipif(
    not TUTORIAL.is_dir(), reason="Espressif's example data are not beside this checkout (shared/data)"
)
def test_the_emulated_firmware_gives_the_published_chip_output(tmp_path: Path) -> None:
    """Espressif's model, image and exponents; the ten integers its ESP32-S3 printed."""
    facts = json.loads((TUTORIAL / "published.json").read_text())
    exponents = [facts["layer_output_exponents"][f"fused_gemm_{k}"] for k in range(3)]
    tensors = ("input", "sequential/dense/Relu:0", "sequential/dense_1/Relu:0", "output")
    table = dict(zip(tensors, (2.0**e for e in (facts["input_exponent"], *exponents)), strict=True))
    (tmp_path / "table.json").write_text(json.dumps(table))
    image = np.load(TUTORIAL / "example_image_u8.npy").astype(np.float32) / np.float32(255)
    np.savez(tmp_path / "image.npz", x=image[np.newaxis])
    exported = export_v1(
        TUTORIAL / "mnist_model_example.onnx",
        tmp_path / "image.npz",
        tmp_path / "project",
        chip="esp32s3",
        scheme=Scheme(16),
        table=tmp_path / "table.json",
    )
    artifact = EspdlV1().load(exported.directory, "esp32s3")
    integers = artifact.inputs[0].quantise(image.reshape(artifact.inputs[0].shape))
    (reply,) = run_emulated(artifact, "esp32s3", [[integers]], tmp_path)
    assert np.frombuffer(reply.output, np.int16).tolist() == facts["published_chip_output_int16"]
