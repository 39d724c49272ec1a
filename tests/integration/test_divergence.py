"""A planted one-LSB fault is found in every layer, on both emulated targets, in both runtimes."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from harness.bench import Bench
from harness.cli import main
from harness.deployment import LinkedDeployment
from harness.divergence import FILE_NAME, Found, first_difference, locate
from harness.expectation import Expectation, expect
from harness.items import Item
from harness.link.client import Link
from harness.link.codec import Capability
from harness.link.messages import Hello
from harness.model.dataset import dataset_from
from harness.portable.ops.fully_connected import FullyConnected
from harness.records.schema import ItemRecord
from harness.reproducer import Reproducer, load_reproducer, replay
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.runtimes.planned import PlannedArtifact
from harness.settings import settings_from
from tests.planted_fault import plant

SOUND = 255
"""A first byte that names no layer."""


def bench_for(root: Path, model: str, target: str, runtime: str) -> Bench:
    given = {"model": model, "runtime": runtime, "reference": "none", "samples": "4"}
    settings = settings_from(
        lambda option: given.get(option.field, option.default),
        target=target, port=None, baud=None, root=root,
    )  # fmt: skip
    return Bench(settings, reports_root=root / "reports", command="test")


def naming(artifact: Artifact, runtime: str, first_bytes: list[int]) -> Expectation:
    """Random inputs with these first bytes."""
    generator = np.random.default_rng(3)
    (info,) = artifact.inputs
    images = generator.integers(-128, 128, (len(first_bytes), *info.shape)).astype(info.dtype)
    images.reshape(len(first_bytes), -1)[:, 0] = np.array(first_bytes).astype(info.dtype)
    dataset = dataset_from(images, None, artifact.inputs, None)
    return expect(artifact, get_runtime(runtime).oracle(artifact), dataset, None, 0)


class TapsOnly(Link):
    """The same link, to a device that gives outputs of layers and no digests."""

    asked = 0

    def __init__(self, link: Link) -> None:
        self.__dict__ |= link.__dict__

    @property
    def hello(self) -> Hello:
        hello = super().hello
        return dataclasses.replace(hello, capabilities=hello.capabilities & ~Capability.LAYER_DIGESTS)

    def read_layer(self, data: bytes, layer: int) -> bytes:
        self.asked += 1
        return super().read_layer(data, layer)


def faulty(bench: Bench, item: Item) -> LinkedDeployment:
    artifact = bench.artifact(item)
    project = bench.project(item, artifact)
    plant(project)
    image = bench.image(item, project)
    deployment = bench.deploy(item, artifact, image, bench.board(item, image))
    assert isinstance(deployment, LinkedDeployment)
    return deployment


@pytest.mark.parametrize("target", ["esp32c3", "esp32s3"])
@pytest.mark.parametrize("runtime", ["tflm", "espdl"])
@pytest.mark.parametrize("model", ["himax_cnn", "mnist_mlp", "test18_conv_pool"])
def test_a_fault_is_located_in_every_layer(model: str, runtime: str, target: str, tmp_path: Path) -> None:
    bench = bench_for(tmp_path, model, target, runtime)
    (item,) = bench.items()
    with faulty(bench, item) as deployment:
        assert isinstance(deployment, LinkedDeployment)
        artifact = deployment.artifact
        assert isinstance(artifact, PlannedArtifact)
        expected = naming(artifact, runtime, [*range(len(artifact.layers)), SOUND])
        for layer in artifact.layers:
            found = locate(deployment, expected, layer.index, tmp_path / str(layer.index))
            assert found is not None
            assert (found.index, found.op, found.shape) == (layer.index, layer.op, layer.output.shape)
            assert (found.max_lsb, found.mismatching_elements) == (1, 1)
            size = layer.output.size_bytes // layer.output.elements
            middle = (layer.output.size_bytes // 2 & ~3) // size
            assert np.ravel_multi_index(found.worst_index, found.shape) == middle
            off = [part for part in found.histogram if part.low]
            assert [(abs(part.low), part.elements) for part in off] == [(1, 1)]
            case = load_reproducer(tmp_path / str(layer.index) / FILE_NAME)
            assert np.count_nonzero(case.oracle != case.device) == 1
            assert (case.layer, case.target) == (layer.index, target)
            assert all(part.values for part in found.inputs)
        assert locate(deployment, expected, len(artifact.layers), tmp_path / "sound") is None
        assert not (tmp_path / "sound").exists()
        if target == "esp32c3":
            found_by_taps(deployment, expected, artifact)
    bench.finish()


def found_by_taps(deployment: LinkedDeployment, expected: Expectation, artifact: PlannedArtifact) -> None:
    """Without digests: the same layer, if the outputs differ at all, in log2 of the layers and its inputs."""
    taps, reached = TapsOnly(deployment.link), 0
    for layer in artifact.layers:
        layers = deployment.oracle_layers([tensor[layer.index] for tensor in expected.inputs])
        taps.asked = 0
        found = first_difference(taps, expected.payload(layer.index), layers, artifact.plan)
        assert taps.asked <= np.ceil(np.log2(len(layers))) + 2
        assert found in (None, Found(layer.index, None))
        reached += found is not None
    assert reached >= 1


def run_planted(root: Path) -> tuple[ItemRecord, Bench]:
    bench = bench_for(root, "himax_cnn", "esp32c3", "tflm")
    (item,) = bench.items()
    with faulty(bench, item) as deployment:
        bench.run(deployment, naming(deployment.artifact, "tflm", [SOUND, SOUND, 4, 5, SOUND]))
    return bench.close_item(item), bench


def test_a_run_names_the_layer_in_record_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path / "build"))
    monkeypatch.setenv("HARNESS_HISTORY_URL", f"sqlite:///{tmp_path}/history.sqlite")
    record, bench = run_planted(tmp_path)
    bench.finish()
    found = record.divergence
    assert record.outcome == "failed"
    assert found is not None
    assert (found.sample, found.index, found.op, found.max_lsb, found.later) == (
        2,
        4,
        "CONV_2D",
        1,
        found.later,
    )
    (window,) = found.inputs
    assert (window.region, window.elements, len(window.values)) == ("[0, :, :, :]", 400, 64)
    for name in ("report.html", "summary.md"):
        text = (bench.directory.path / name).read_text(encoding="utf-8")
        assert "diff-layers" in text, name
    # Alone the layer is right: the fault is not in its kernel.
    assert main(["diff-layers", str(bench.directory.path / "items" / record.key / FILE_NAME)]) == 0
    said = capsys.readouterr().out
    assert said.count("equal to the oracle: 0 LSB") == 2
    assert "Alone the layer is right" in said


def test_a_fault_of_a_kernel_comes_again_when_its_layer_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = FullyConnected.body
    monkeypatch.setattr(FullyConnected, "body", lambda step: [*sound(step), "output[3] ^= 1;"])
    bench = bench_for(tmp_path, "mnist_mlp", "esp32c3", "tflm")
    (item,) = bench.items()
    record = bench.run_item(item)
    assert record.divergence is not None
    assert (record.divergence.index, record.divergence.worst_index) == (0, (0, 3))
    bench.finish()
    case = load_reproducer(bench.directory.path / "items" / record.key / FILE_NAME)
    done = list(replay(case, tmp_path / "build"))
    assert [one.fidelity for one in done] == ["host", "isa"]
    assert all(one.gap.mismatching_elements == 1 and one.as_device for one in done)


@pytest.mark.parametrize("runtime", ["tflm", "espdl", "espdl-v1", "tvm"])
def test_a_layer_of_every_runtime_runs_alone(runtime: str, tmp_path: Path) -> None:
    """The second layer of a network, on what the oracle's first one gives: 0 LSB natively and in QEMU."""
    if runtime == "tvm" and importlib.util.find_spec("tvm") is None:
        pytest.skip("pip install -e '.[tvm]'")
    bench = bench_for(tmp_path, "mnist_mlp", "esp32s3", runtime)
    (item,) = bench.items()
    artifact = bench.artifact(item)
    assert isinstance(artifact, PlannedArtifact)
    step = artifact.plan.steps[1]
    expected = naming(artifact, runtime, [SOUND])
    layers = get_runtime(runtime).oracle(artifact).run_layers([tensor[0] for tensor in expected.inputs])
    assert [tensor.index for tensor in step.reads] == [artifact.plan.steps[0].writes[0].index]
    case = Reproducer(
        artifact.data, artifact.name, runtime, "esp32s3", 1, 0, (layers[0],), layers[1], layers[1]
    )
    case.save(tmp_path / "one.npz")
    done = list(replay(load_reproducer(tmp_path / "one.npz"), tmp_path / "build"))
    bench.finish()
    assert [(one.fidelity, one.gap.mismatching_elements) for one in done] == [("host", 0), ("isa", 0)]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not an archive"])
def test_a_file_that_is_no_reproducer_is_refused_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.npz"
    path.write_bytes(content)
    assert main(["diff-layers", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("harness: ")
    assert said.count("\n") == 1
    assert "diff-layers MODEL" in said
