"""esp-dl v1 firmware of `--kernels vendor`: its engine and the generated C++ run here, over the project's own
headers with the v1 class names (firmware/runtimes/espdl_v1/host); the project's files are those CMake names.
esp-dl's library is closed and for the chips only; ESP-IDF 4.4 is played by a stand-in.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.boards.host import HostBoard
from harness.bundled import firmware_dir
from harness.errors import MissingError, UnsupportedError
from harness.expectation import tensor_digest
from harness.items import Workshop, load_artifact
from harness.link.client import Link
from harness.model.spec import load_model
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact
from harness.targets import get_target
from harness.toolchains.esp_idf.build import build
from harness.toolchains.esp_idf.model_image import encode
from harness.toolchains.esp_idf.partitions import Layout
from harness.toolchains.esp_idf.project import IdfProject, write_project
from tests.stand_in.idf_builds import active_idf, idf_calls

TESTS = Path(__file__).parents[1]
FLAGS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-ffp-contract=off")
WARNINGS = ("-Wall", "-Wextra", "-Werror")


def made(tmp_path: Path, model: str, runtime: str, chip: str) -> tuple[Artifact, IdfProject]:
    target = get_target(chip)
    artifact = load_artifact(load_model(model), runtime, target, Workshop(tmp_path / "artifacts"))
    return artifact, write_project(artifact, target, "vendor", tmp_path / "project", Layout())


def program(project: IdfProject, chip: str, scratch: Path) -> Path:
    """The project's engine and model, with platform `host` in the chip's place."""
    root, host = project.directory, firmware_dir() / "platforms/host"
    c_sources = [*(root / "firmware/core").glob("*.c"), *(root / "firmware/runtimes/vendor").glob("*.c")]
    c_sources += [*host.glob("*.c"), TESTS / "firmware/host_model_store.c"]
    cpp_sources = [*(root / "main").glob("*.cpp"), *(root / "firmware/runtimes/espdl_v1").glob("*.cpp")]
    folders = ("firmware", "firmware/core", "firmware/runtimes/vendor", "firmware/runtimes/espdl_v1", "main")
    includes = [f"-I{root / folder}" for folder in folders]
    includes += [f"-I{host}", f"-I{firmware_dir() / 'runtimes/espdl_v1/host'}"]
    defines = [f'-DFIRMWARE_TARGET="{chip}"', f'-DFIRMWARE_DIGEST="{"0" * 64}"', '-DENGINE_KERNELS="vendor"']
    defines += [f"-DCONFIG_IDF_TARGET_{chip.upper()}=1", "-D_POSIX_C_SOURCE=200809L"]
    common = [*FLAGS, *WARNINGS, *includes, *defines]
    objects = []
    for compiler, sources in (("gcc -std=c99", c_sources), ("g++ -std=c++11", cpp_sources)):
        for source in sources:
            objects.append(scratch / f"{len(objects)}.o")
            command = [*compiler.split(), *common, "-c", str(source), "-o", str(objects[-1])]
            subprocess.run(command, check=True)
    subprocess.run(["g++", *FLAGS, *map(str, objects), "-o", str(scratch / "firmware")], check=True)
    return scratch / "firmware"


@pytest.mark.parametrize(
    ("model", "runtime", "chip"),
    [("himax_cnn", "espdl-v1", "esp32s3"), ("mnist_mlp", "espdl-v1:int8-per-channel", "esp32c3")],
)
def test_every_layer_through_the_engine(
    model: str, runtime: str, chip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, project = made(tmp_path, model, runtime, chip)
    oracle = get_runtime(runtime).oracle(artifact)
    image = tmp_path / "model.bin"
    image.write_bytes((project.directory / "model.bin").read_bytes())
    assert image.read_bytes() == encode(artifact, described_only=True)
    monkeypatch.setenv("HARNESS_MODEL_IMAGE", str(image))
    info = artifact.inputs[0]
    rng = np.random.default_rng(0)
    limits = np.iinfo(info.dtype)
    inputs = rng.integers(limits.min, limits.max + 1, (4, *info.shape), info.dtype)
    with HostBoard(chip, program(project, chip, tmp_path)) as port:
        link = Link(port)
        link.connect()
        identity = link.identify()
        assert (identity.artifact, identity.kernels) == (artifact.digest, "vendor")
        assert identity.values["runtime"] == "espdl-v1"
        for given in inputs:
            right = oracle.run_layers([given])
            (reply,) = link.infer_stream([given.tobytes()], layer_digests=True)
            assert list(reply.layer_digests) == [tensor_digest(tensor) for tensor in right]
            assert reply.output == right[-1].tobytes()
        for index, tensor in enumerate(right):
            assert link.read_layer(given.tobytes(), index) == tensor.tobytes(), "the run ended behind it"
        assert link.infer(inputs[0].tobytes()).output == oracle.run([inputs[0]])[0].tobytes()
        weights = sum(layer.macs > 0 for layer in artifact.layers)
        assert link.memory().model_bytes > 1000 * weights


def test_the_project_is_for_esp_idf_4_4_and_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, project = made(tmp_path, "mnist_mlp", "espdl-v1", "esp32s3")
    main = (project.directory / "main/CMakeLists.txt").read_text(encoding="utf-8")
    named = re.findall(r"\.\./(\S+?)(?=[\s)])", main)
    assert [name for name in named if not (project.directory / name).exists()] == []
    assert "../main/mnist_mlp_coefficient.cpp" in main
    assert "PRIV_REQUIRES driver " in main
    assert "esp-dl)" in main
    assert not (project.directory / "firmware/runtimes/espdl_v1/host").exists()
    assert "set(EXTRA_COMPONENT_DIRS $ENV{ESP_DL_PATH})" in (project.directory / "CMakeLists.txt").read_text()
    chip = (project.directory / "sdkconfig.defaults.esp32s3").read_text(encoding="utf-8")
    assert "CONFIG_ESP32S3_DEFAULT_CPU_FREQ_240=y\nCONFIG_ESP32S3_SPIRAM_SUPPORT=y\n" in chip
    assert '">=4.4,<5.1"' in (project.directory / "main/idf_component.yml").read_text(encoding="utf-8")

    for name, value in active_idf(tmp_path, (5, 5)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MissingError, match=r"expected ESP-IDF >=4.4,<5.1, .* is 5.5.1\. .*checkout v4.4.8"):
        build(project, artifact, build_root=tmp_path / "images")
    active_idf(tmp_path, (4, 4))
    monkeypatch.setenv("ESP_DL_PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(MissingError, match=r"expected ESP_DL_PATH to name a checkout of esp-dl.*git clone"):
        build(project, artifact, build_root=tmp_path / "images")
    assert idf_calls(tmp_path) == []
    checkout = tmp_path / "esp-dl"
    checkout.mkdir()
    (checkout / "CMakeLists.txt").touch()
    monkeypatch.setenv("ESP_DL_PATH", str(checkout))
    image = build(project, artifact, build_root=tmp_path / "images")
    assert (image.compiler, image.flash and image.flash.model) == ("ESP-IDF 4.4.1", None)
    (checkout / "lib/esp32s3").mkdir(parents=True)
    (checkout / "lib/esp32s3/libdl.a").write_bytes(b"another")
    assert build(project, artifact, build_root=tmp_path / "images").digest != image.digest


def test_what_esp_dl_v1_firmware_cannot_be(tmp_path: Path) -> None:
    artifact, _ = made(tmp_path, "mnist_mlp", "espdl-v1", "esp32s3")
    with pytest.raises(
        UnsupportedError, match=r"4.4 and 5.0 speaks over the UART, this port is the chip's own"
    ):
        write_project(artifact, get_target("esp32s3"), "vendor", tmp_path / "usb", Layout(usb_serial=True))
    with pytest.raises(UnsupportedError, match="esp-dl v1 does not support esp32c6"):
        load_artifact(load_model("mnist_mlp"), "espdl-v1", get_target("esp32c6"), Workshop(tmp_path))
