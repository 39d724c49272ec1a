"""A planted one-LSB fault is located in whatever layer it is, and the layer can be run again alone."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.bench import Bench
from harness.cli import main
from harness.deployment import LinkedDeployment
from harness.divergence import FILE_NAME, Found, first_difference, locate
from harness.link.client import Link
from harness.link.codec import Capability
from harness.link.messages import Hello
from harness.portable.ops.fully_connected import FullyConnected
from harness.records.schema import ItemRecord
from harness.reproducer import Reproducer, load_reproducer, replay
from harness.runtimes import get_runtime
from harness.runtimes.planned import PlannedArtifact
from tests.planted_fault import SOUND, Attempt, attempts, bench_for, faulty, naming
from tests.tflite_builder import ModelBuilder


class TapsOnly(Link):
    """The same link, to a device that gives layers one at a time."""

    def __init__(self, link: Link) -> None:
        self.__dict__ |= link.__dict__
        self.asked = 0

    @property
    def hello(self) -> Hello:
        hello = super().hello
        return dataclasses.replace(hello, capabilities=hello.capabilities & ~Capability.LAYER_DIGESTS)

    def layer_digest(self, data: bytes, layer: int) -> bytes:
        self.asked += 1
        return super().layer_digest(data, layer)


# Among them: first and last layers, layers that move nothing (their buffer is their input's), int16, float
# outputs, and faults that a later layer saturates away.
@pytest.mark.parametrize(
    ("model", "runtime", "target"),
    [
        ("himax_cnn", "tflm", "esp32c3"),
        ("test19_conv_pool_15x15", "tflm", "esp32s3"),
        ("himax_cnn", "espdl", "esp32s3"),
        ("test18_conv_pool", "espdl-v1", "esp32c3"),
        ("mnist_mlp", "tvm", "esp32s3"),
    ],
)
def test_a_fault_in_any_layer_is_located(model: str, runtime: str, target: str, tmp_path: Path) -> None:
    """`python -m benchmarks.planted_faults` does the same for the whole zoo."""
    if runtime == "tvm" and importlib.util.find_spec("tvm") is None:
        pytest.skip("pip install -e '.[tvm]'")
    bench = bench_for(tmp_path, model, target, runtime)
    (item,) = bench.items()
    deployment, faults = faulty(bench, item)
    with deployment:
        done = list(attempts(deployment, faults, tmp_path))
        assert [attempt.complaint for attempt in done] == [None] * len(deployment.artifact.layers)
        # One for the digests, one for the layer.
        assert {attempt.inferences for attempt in done} == {2}
        for fault in faults:
            case = load_reproducer(tmp_path / str(fault.layer) / FILE_NAME)
            assert np.flatnonzero(case.oracle != case.device) == [fault.element]
            assert (case.layer, case.target) == (fault.layer, target)
        sound = naming(deployment.artifact, runtime, [SOUND])
        assert locate(deployment, sound, 0, tmp_path / "sound") is None
        assert not (tmp_path / "sound").exists()
        if (model, runtime) == ("himax_cnn", "tflm"):
            assert not all(attempt.reaches_output for attempt in done)
            one_by_one(deployment, done)
    bench.finish()


def one_by_one(deployment: LinkedDeployment, done: Sequence[Attempt]) -> None:
    """From a device that gives layers singly: the same ones, in as many inferences as are promised."""
    artifact = deployment.artifact
    assert isinstance(artifact, PlannedArtifact)
    layers = len(artifact.layers)
    expected = naming(artifact, deployment.item.runtime, range(layers))
    for sample, attempt in enumerate(done):
        taps, index = TapsOnly(deployment.link), attempt.fault.layer
        right = deployment.oracle_layers([tensor[sample] for tensor in expected.inputs])
        assert first_difference(taps, expected.payload(sample), right, artifact.plan) == Found(index, None)
        reads = len(artifact.plan.steps[index].reads)
        bound = math.ceil(math.log2(layers)) + 1 + reads if attempt.reaches_output else index + 2
        assert taps.asked <= bound


def test_a_network_of_600_layers_takes_log2_inferences(tmp_path: Path) -> None:
    """No reply has room for 600 digests. A layer in the middle is an output too."""
    model, shapes = ModelBuilder(), ((1, 8), (8, 1))
    tensors = [model.input(shapes[0], scale=0.5)]
    for index in range(600):
        tensors.append(model.tensor(shapes[(index + 1) % 2], scale=0.5))
        model.operator("RESHAPE", tensors[-2:-1], tensors[-1:])
    path = tmp_path / "long.tflite"
    path.write_bytes(model.build([tensors[300], tensors[-1]]))
    bench = bench_for(tmp_path, str(path), "esp32c3", "tflm")
    (item,) = bench.items()
    deployment, faults = faulty(bench, item, [0, 299, 300, 417, 599])
    with deployment:
        done = list(attempts(deployment, faults, tmp_path))
        assert [attempt.complaint for attempt in done] == [None] * len(faults)
        # Both ends of the bisection, log2(600), what the layer reads, and the layer itself.
        assert max(attempt.inferences for attempt in done) <= 2 + 10 + 1 + 1
        result = bench.run(deployment, naming(deployment.artifact, "tflm", [SOUND]))
        assert result.runtime_gap.exact
        assert any("digests of 600 do not fit" in note for note in deployment.notes())
    bench.finish()


def run_planted(root: Path) -> tuple[ItemRecord, Bench]:
    bench = bench_for(root, "himax_cnn", "esp32c3", "tflm")
    (item,) = bench.items()
    # Of these faults the one in layer 4 reaches the outputs.
    deployment, _ = faulty(bench, item, seed=1)
    with deployment:
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


@pytest.mark.parametrize("runtime", ["tflm", "espdl", "espdl-v1", "tvm"])
def test_any_two_of_device_oracle_and_float(
    runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer finds its tensor in the float model, after whatever the converter called it."""
    if runtime == "tvm" and importlib.util.find_spec("tvm") is None:
        pytest.skip("pip install -e '.[tvm]'")
    monkeypatch.setenv("HARNESS_BUILD_ROOT", str(tmp_path))
    command = [
        "diff-layers",
        "test18_conv_pool",
        "--runtime",
        runtime,
        "--target",
        "esp32c3",
        "--sample",
        "3",
    ]
    tables = {}
    for pair in ("device,oracle", "oracle,float", "float,device"):
        assert main([*command, "--between", pair]) == 0
        tables[pair] = [
            line for line in capsys.readouterr().out.splitlines() if not line.startswith("device:")
        ]
    assert tables["device,oracle"][-1].endswith("layers are equal: 0 LSB")
    # The device gave the oracle's integers.
    assert tables["float,device"] == tables["oracle,float"]
    rows = [line.rsplit(maxsplit=4) for line in tables["oracle,float"][2:] if line[0].isdigit()]
    assert int(tables["device,oracle"][-1].split()[1]) == len(rows)
    partners = [partner for *_, partner in rows]
    assert partners[0] == "conv2d_relu", "not what is before its activation"
    assert partners[-2:] == ["dense_gemm", "output"]
    assert all(float(sqnr) > 20 for _, sqnr, *_ in rows)


def test_between_takes_two_of_three(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff-layers", "test18_conv_pool", "--between", "oracle,moon"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("harness: --between expects two of device, oracle, float, got 'oracle,moon'")
    assert said.count("\n") == 1


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
