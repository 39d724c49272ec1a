"""Exported ESP-DL v1 projects: the generated C++ compiles, runs here and returns the oracle's integers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from harness.cli import main
from harness.errors import DataError, OutputError, UsageError
from harness.model.spec import load_model
from harness.runtimes.espdl_v1 import oracle
from harness.runtimes.espdl_v1.calibrate import Scheme
from harness.runtimes.espdl_v1.export import Export, export_v1
from tests.espdl_v1_host import onnx_chain, run_app, run_on_host

CHIPS = ("esp32", "esp32s3")
SCHEMES = (
    Scheme(16),
    Scheme(8),
    Scheme(8, "per-channel"),
    Scheme(8, "per-channel", "entropy"),
)
TUTORIAL = Path(__file__).parents[3] / "shared" / "data" / "esp_dl_v1_tutorial"
node = helper.make_node


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layer v1 projects are generated with but Sigmoid, odd sizes, 19 channels."""
    weights = {
        "w": floats(19, 1, 3, 3),
        "b": floats(19, seed=1),
        "depth": floats(19, 1, 2, 3, seed=2),
        "depth_b": floats(19, seed=3) / 4,
        "point": floats(9, 19, 1, 1, seed=4),
        "dense": floats(7, 9 * 4 * 3, seed=5),
        "dense_b": floats(7, seed=6),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "net/Conv 1", pads=[1, 0, 2, 1], strides=[1, 2]),
        node("LeakyRelu", ["c"], ["r"], "leaky", alpha=0.15),
        node("Conv", ["r", "depth", "depth_b"], ["d"], "depth", group=19, dilations=[2, 1]),
        node("Relu", ["d"], ["e"], "relu"),
        node("Conv", ["e", "point"], ["f"], "point"),
        node("MaxPool", ["f"], ["p"], "pool", kernel_shape=[3, 2], strides=[2, 1]),
        node("Relu", ["p"], ["q"], "alone"),
        node("Flatten", ["q"], ["g"], "flat"),
        node("Gemm", ["g", "dense", "dense_b"], ["y"], transB=1),
        node("Softmax", ["y"], ["s"], "soft", axis=1),
    ]
    path = tmp_path_factory.mktemp("model") / "9 net.onnx"
    return onnx_chain(path, nodes, weights, ("N", 1, 10, 12))


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "calibration.npz"
    np.savez(path, x=floats(16, 10, 12, 1, seed=9))
    return path


def random_inputs(export: Export, samples: int) -> np.ndarray:
    limits = np.iinfo(export.network.integer_dtype)
    shape = (samples, *export.network.network.input_shape)
    values = np.random.RandomState(3).randint(limits.min, limits.max + 1, shape)
    return values.astype(export.network.integer_dtype)


def check_against_oracle(export: Export, chip: str, inputs: np.ndarray, scratch: Path) -> None:
    wanted = np.stack([oracle.run(export.network, value)[-1].reshape(-1) for value in inputs])
    found = run_on_host(export, chip, inputs, scratch)
    assert np.array_equal(found, wanted)
    assert len(np.unique(found)) > 3


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.bits}-{s.granularity}-{s.method}")
def test_generated_cpp_equals_the_oracle(
    chip: str, scheme: Scheme, model: Path, calibration: Path, tmp_path: Path
) -> None:
    export = export_v1(model, calibration, tmp_path / "out", chip=chip, scheme=scheme)
    check_against_oracle(export, chip, random_inputs(export, 20), tmp_path)


@pytest.mark.parametrize("name", ["mnist_mlp", "himax_cnn"])
def test_the_zoo_equals_the_oracle_and_agrees_with_float(name: str, tmp_path: Path) -> None:
    spec = load_model(name)
    assert spec.calibration is not None
    assert spec.test is not None
    assert spec.preprocess is not None
    export = export_v1(
        spec.artifacts["onnx"],
        spec.calibration,
        tmp_path / "out",
        chip="esp32s3",
        scheme=Scheme(16),
        name=name,
        preprocess=spec.preprocess,
    )
    with np.load(spec.test) as data:
        pixels, labels = data["x"][:50], data["y"][:50]
    real = spec.preprocess.apply(pixels).reshape(50, *export.network.network.input_shape)
    inputs = export.network.quantise_input(real)
    check_against_oracle(export, "esp32s3", inputs, tmp_path)
    assert (run_on_host(export, "esp32s3", inputs, tmp_path).argmax(axis=1) == labels).mean() >= 0.9


def test_sigmoid_and_the_generated_app(tmp_path: Path) -> None:
    """The tutorials' smallest net, one neuron; app_main converts the image as the oracle does."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Sigmoid", ["m"], ["y"], "sigmoid")]
    path = onnx_chain(tmp_path / "neuron.onnx", nodes, {"w": floats(3, 1)}, (1, 3))
    np.savez(tmp_path / "data.npz", x=floats(5, 3, seed=2))
    export = export_v1(path, tmp_path / "data.npz", tmp_path / "out", chip="esp32", scheme=Scheme(16))
    check_against_oracle(export, "esp32", random_inputs(export, 20), tmp_path)
    printed = run_app(export, "esp32", tmp_path)
    image = export.network.quantise_input(floats(5, 3, seed=2)[0].reshape(1, 1, 3))
    score = float(oracle.run(export.network, image)[-1].item())
    assert printed[0].startswith("NEURON::forward: ")
    assert printed[1:] == [f"score[0] : {score:.7f}"]


@pytest.mark.skipif(
    not TUTORIAL.is_dir(), reason="Espressif's example data are not beside this checkout (shared/data)"
)
def test_espressifs_example_from_file_to_printed_scores(tmp_path: Path) -> None:
    """Published exponents in; the files hold the published arrays, the app prints the chip's scores."""
    facts = json.loads((TUTORIAL / "published.json").read_text())
    tensors = ("sequential/dense/Relu:0", "sequential/dense_1/Relu:0", "output")
    exponents = [facts["layer_output_exponents"][f"fused_gemm_{k}"] for k in range(3)]
    table = {"input": 2.0 ** facts["input_exponent"]}
    table |= {name: 2.0**exponent for name, exponent in zip(tensors, exponents, strict=True)}
    (tmp_path / "table.json").write_text(json.dumps(table))
    image = np.load(TUTORIAL / "example_image_u8.npy").astype(np.float32) / np.float32(255)
    np.savez(tmp_path / "image.npz", x=image[np.newaxis])
    export = export_v1(
        TUTORIAL / "mnist_model_example.onnx",
        tmp_path / "image.npz",
        tmp_path / "out",
        chip="esp32s3",
        scheme=Scheme(16),
        table=tmp_path / "table.json",
    )
    assert export.log[4:] == (
        "Quantized model info:",
        "model input name: input, exponent: -15",
        "Reshape layer name: sequential/flatten/Reshape, output_exponent: -15",
        "Gemm layer name: fused_gemm_0, output_exponent: -11",
        "Gemm layer name: fused_gemm_1, output_exponent: -11",
        "Gemm layer name: fused_gemm_2, output_exponent: -9",
    )
    text = (export.directory / "model" / "mnist_model_example_coefficient.cpp").read_text()
    published = np.load(TUTORIAL / "published_coefficients_esp32s3_int16.npz")
    for name in published.files:
        array = re.search(rf"int16_t {name}_element\[\] = {{([^}}]*)}};", text)
        assert array is not None
        assert np.array_equal(np.array(array[1].split(","), dtype=np.int16), published[name])
        declared = facts["declarations"][name]
        assert f"{name}({declared});" in text
    scores = [int(line.split(":")[1]) for line in run_app(export, "esp32s3", tmp_path)[1:]]
    assert scores == facts["published_chip_output_int16"]


def test_the_command_prints_the_old_tools_lines_and_writes_the_same_again(
    model: Path, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("a", "b"):
        given = ["export-v1", str(model), "--target", "esp32", "--bits", "16", "--out", str(tmp_path / out)]
        table = ["--table", str(tmp_path / "a" / "quantization_table.json")] if out == "b" else []
        assert main([*given, "--calibration", str(calibration), *table]) == 0
    lines = capsys.readouterr().out.splitlines()
    lines = lines[: len(lines) // 2]
    stem = tmp_path / "a" / "model" / "layer_9_net_coefficient"
    assert lines[:6] == [
        "Generating the quantization table:",
        "Converting coefficient to int16 per-tensor quantization for esp32",
        f"Exporting finish, the output files are: {stem}.cpp, {stem}.hpp",
        "",
        "Quantized model info:",
        "model input name: x, exponent: -15",
    ]
    assert [line.split(",")[0] for line in lines[6:]] == [
        "Conv layer name: net/Conv 1",
        "Conv layer name: depth",
        "Conv layer name: point",
        "MaxPool layer name: pool",
        "Relu layer name: alone",
        "Flatten layer name: flat",
        "Gemm layer name: fused_gemm_0",
        "Softmax layer name: soft",
    ]
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("a", "b")
    )
    assert first == second
    assert len(first) == 9


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (floats(0, 10, 12, 1), "empty"),
        (floats(4, 9, 12, 1), "shape"),
        (np.zeros((4, 10, 12, 1), np.uint8), "uint8"),
        (np.full((4, 10, 12, 1), np.inf, np.float32), "infinity"),
    ],
)
def test_bad_calibration_leaves_nothing_behind(
    x: np.ndarray, message: str, model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=x)
    with pytest.raises(DataError, match=message):
        export_v1(model, tmp_path / "data.npz", tmp_path / "out", chip="esp32", scheme=Scheme(16))
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "no scale for tensor 'x'"), ("[", "expected a JSON table"), ('{"x": 0.3}', "no scale|power")],
)
def test_bad_tables(text: str, message: str, model: Path, calibration: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=message):
        export_v1(
            model,
            calibration,
            tmp_path / "out",
            chip="esp32",
            scheme=Scheme(16),
            table=tmp_path / "t.json",
        )


def test_a_directory_in_use_and_an_unknown_chip(model: Path, calibration: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="new or empty"):
        export_v1(model, calibration, tmp_path, chip="esp32", scheme=Scheme(16))
    with pytest.raises(UsageError, match="no target 'esp32p4'"):
        export_v1(model, calibration, tmp_path / "out", chip="esp32p4", scheme=Scheme(16))


def test_the_command_asks_for_calibration_data(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-v1", str(model), "--target", "esp32", "--bits", "16", "--out", "unused"]) == 2
    assert (
        "has no calibration set. Give some 200 typical inputs: --calibration FILE.npz"
        in capsys.readouterr().err
    )
