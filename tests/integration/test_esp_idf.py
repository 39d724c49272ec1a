"""ESP-IDF projects: what is in them, the C by a compiler, and the build with a stand-in for idf.py that
records how it is called. Espressif's tools: test_esp_idf_tools.py; a real ESP-IDF: test_esp_idf_installed.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import cli
from harness.boards.host import HostBoard
from harness.bundled import firmware_dir
from harness.errors import BuildError, MissingError, UnsupportedError, UsageError
from harness.items import load_artifact
from harness.link.client import Link
from harness.link.wirelog import WireLog
from harness.model.spec import load_model
from harness.runtimes.base import Artifact, Project
from harness.runtimes.espdl import Espdl
from harness.runtimes.tflm import Tflm
from harness.targets import get_target
from harness.toolchains import bare_metal
from harness.toolchains.esp_idf.build import build
from harness.toolchains.esp_idf.engines import ENGINES, check_esp_nn, check_espdl
from harness.toolchains.esp_idf.model_image import encode
from harness.toolchains.esp_idf.partitions import Layout
from harness.toolchains.esp_idf.project import IdfProject
from harness.toolchains.esp_idf.sdkconfig import CHIPS, read_own
from tests.espdl_cases import network
from tests.idf_projects import idf_project
from tests.operator_cases import bundle
from tests.stand_in.idf_builds import STAND_IN, active_idf, idf_calls
from tests.tflite_builder import ModelBuilder

TESTS = Path(__file__).parents[1]
ENGINE_KERNELS = [(name, kernels) for name, engine in ENGINES.items() for kernels in engine.kernels]
Generate = Callable[..., tuple[Artifact, IdfProject]]


@pytest.fixture
def generate(tmp_path: Path) -> Generate:
    """A project of a zoo model; the same arguments give another directory each time."""
    counter = iter(range(100))

    def generated(
        model: str = "mnist_mlp",
        runtime: str = "tflm",
        kernels: str = "vendor",
        chip: str = "esp32c3",
        layout: Layout | None = None,
    ) -> tuple[Artifact, IdfProject]:
        return idf_project(tmp_path / f"project{next(counter)}", model, runtime, kernels, chip, layout)

    return generated


# The project's files.


@pytest.mark.parametrize(
    ("runtime", "kernels"), [*ENGINE_KERNELS, ("tflm", "portable"), ("espdl", "portable")]
)
def test_every_file_that_cmake_names_is_there(generate: Generate, runtime: str, kernels: str) -> None:
    _, project = generate("himax_cnn", runtime, kernels)
    text = (project.directory / "main/CMakeLists.txt").read_text(encoding="utf-8")
    named = re.findall(r"\.\./(\S+?)(?=[\s)])", text)
    assert len(named) > 15
    missing = [name for name in named if not (project.directory / name).exists()]
    assert missing == []
    left_out = [
        name
        for name in project.tree
        if name.endswith((".c", ".cc", ".cpp", ".S")) and f"../{name}" not in text
    ]
    assert left_out == []
    assert ("esptool_py_flash_to_partition" in text) == (kernels != "portable")


def test_generating_again_gives_the_same_bytes(generate: Generate) -> None:
    first, second = (generate("himax_cnn", "espdl", chip="esp32s3")[1] for _ in range(2))
    assert first.tree == second.tree
    for name in (*first.tree, "model.bin"):
        assert (first.directory / name).read_bytes() == (second.directory / name).read_bytes(), name


def test_one_firmware_has_every_operator_and_one_in_the_app_its_own(generate: Generate) -> None:
    artifact, apart = generate()
    _, inside = generate(layout=Layout(model_in_app=True))
    everything, own = (
        (project.directory / "main/operators.inc").read_text(encoding="utf-8") for project in (apart, inside)
    )
    assert "OPERATOR(DepthwiseConv2D)\n" in everything
    assert "OPERATOR(PadV2)\n" in everything
    assert len(own.splitlines()) == len({layer.op for layer in artifact.layers})
    assert "model.bin" in inside.tree
    assert "model.bin" not in apart.tree


@pytest.mark.parametrize("chip", CHIPS)
def test_partitions_and_defaults_of_every_chip(generate: Generate, chip: str) -> None:
    _, project = generate(kernels="vendor-ansi", chip=chip)
    end = 0x10000
    for row in project.partitions:
        assert row.offset == end
        assert row.size % 0x1000 == 0
        end += row.size
    assert end == Layout().flash_bytes
    csv = (project.directory / "partitions.csv").read_text(encoding="utf-8")
    assert re.search(r"^model, data, undefined, 0x190000, 0x270000$", csv, re.MULTILINE)
    for name in ("sdkconfig.defaults", f"sdkconfig.defaults.{chip}"):
        lines = (project.directory / name).read_text(encoding="utf-8").splitlines()
        assert lines
        assert all(re.fullmatch(r'CONFIG_[A-Z0-9_]+=(y|n|\d+|"[^"]+")', line) for line in lines)
    clock = re.findall(r"^CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_(\d+)=y$", "\n".join(lines), re.MULTILINE)
    # That of the ESP32-P4 goes with its revision: ESP-IDF's own default is the fastest.
    assert clock == ([] if chip == "esp32p4" else [str(get_target(chip).clock_hz // 1_000_000)])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 5),
        (("-DCONFIG_HARNESS_MODEL_IN_APP=1", "-DCONFIG_HARNESS_SERIAL_USB=1"), 5),
        (("-DCONFIG_HARNESS_MODEL_IN_APP=1", "-DESP_IDF_VERSION=0x040407"), 4),
        (("-DCONFIG_HARNESS_MODEL_IN_APP=1", "-DESP_IDF_VERSION=0x050007"), 4),
    ],
)
def test_the_platform_compiles_against_stand_in_headers(options: tuple[str, ...], count: int) -> None:
    """Types and syntax only: tests/idf_headers declares what ESP-IDF does, and nothing runs. Older ones have
    no USB."""
    firmware = firmware_dir()
    folders = (TESTS / "idf_headers", firmware, firmware / "core", firmware / "runtimes/vendor")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only", *options)
    sources = sorted((firmware / "platforms/esp_idf").glob("*.c"))[:count]
    assert [path.stem for path in sources][-1] == ("serial_usb" if count == 5 else "serial_uart")
    subprocess.run(["gcc", *flags, *(f"-I{folder}" for folder in folders), *sources], check=True)


def test_the_platform_names_every_task_the_networks_own_first(tmp_path: Path) -> None:
    """The real C, over a FreeRTOS of a few lines."""
    firmware, program = firmware_dir(), tmp_path / "tasks"
    sources = (firmware / "platforms/esp_idf/platform.c", TESTS / "firmware/idf_tasks.c")
    folders = (TESTS / "idf_headers", firmware, firmware / "core")
    flags = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-static")
    link = ("-Wl,--unresolved-symbols=ignore-all", "-o", program)
    command = ["gcc", *flags, *(f"-I{folder}" for folder in folders), *sources, *link]
    subprocess.run(command, check=True)

    def told(tasks: int) -> list[str]:
        done = subprocess.run([program, str(tasks)], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    assert told(4) == 2 * ["harness 16384 300", "esp_timer -1 200", "IDLE0 -1 100", "ipc0 -1 400"]
    assert len(told(16)) == 2 * 16
    assert told(17) == []


# The engines' common half, on this machine.


@pytest.mark.parametrize("damage", [False, True])
def test_a_device_describes_itself_from_its_model_image(
    damage: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = load_artifact(load_model("himax_cnn"), "tflm")
    data = bytearray(encode(artifact))
    data[-1] ^= damage
    (tmp_path / "model.bin").write_bytes(data)
    monkeypatch.setenv("HARNESS_MODEL_IMAGE", str(tmp_path / "model.bin"))
    vendor = firmware_dir() / "runtimes/vendor"
    sources = (
        *vendor.glob("*.c"),
        *(TESTS / "firmware" / n for n in ("image_engine.c", "host_model_store.c")),
    )
    project = Project(vendor, sources, (vendor,), 0)
    image = bare_metal.build(
        project, get_target("esp32c3"), "host", build_root=tmp_path / "build", sanitize=True
    )
    board = HostBoard("esp32c3", image.elf)
    log = tmp_path / "uart.log"
    with board as port, WireLog(wire=tmp_path / "wire.bin", text=log) as wire:
        link = Link(port, log=wire, board_state=board.state)
        link.connect()
        if damage:
            assert link.describe().inputs == ()
            assert "the model image is damaged" in log.read_text(encoding="utf-8")
            return
        link.expect_identity(
            artifact=artifact.digest, firmware=image.digest, target="esp32c3", model="himax_cnn"
        )
        device = link.describe()
    assert [layer.output.shape for layer in device.layers] == [
        layer.output.shape for layer in artifact.layers
    ]
    assert [(layer.op, layer.macs) for layer in device.layers] == [(x.op, x.macs) for x in artifact.layers]
    assert [tensor.scale for tensor in device.inputs] == pytest.approx([artifact.inputs[0].scale], rel=1e-7)


@pytest.mark.parametrize(
    ("operator", "seed", "what"), [("conv_2d", 4, "has "), ("softmax", 1, "has the input shape")]
)
def test_what_esp_nn_gets_wrong_is_refused(operator: str, seed: int, what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(bundle(operator, seed=seed, count=12))
    with pytest.raises(UnsupportedError, match=what):
        check_esp_nn(Tflm().load(path))


@pytest.mark.parametrize(
    ("bias", "scales", "what"),
    [(np.int64, 3, "a scale for each channel"), (np.int32, 1, "sums of 32 bits"), (np.int64, 1, "")],
)
def test_dense_layers_of_int16_that_esp_nn_gets_wrong(
    bias: type[np.signedinteger], scales: int, what: str, tmp_path: Path
) -> None:
    model = ModelBuilder()
    x, y = model.input((1, 4), "int16", 0.1), model.tensor((1, 3), "int16", 0.1)
    w = model.constant(np.ones((3, 4), np.int8), scales=[0.1] * scales)
    b = model.constant(np.ones(3, bias), scales=[0.01] * scales)
    model.operator("FULLY_CONNECTED", [x, w, b], [y], fused_activation_function=0)
    path = tmp_path / "model.tflite"
    path.write_bytes(model.build([y]))
    with pytest.raises(UnsupportedError, match=what) if what else contextlib.nullcontext():
        check_esp_nn(Tflm().load(path))


def test_grouped_convolutions_of_esp_dl_are_refused(tmp_path: Path) -> None:
    """Depthwise ones it computes; the first 16 of these random ones hold both."""
    verdicts = set()
    for seed in range(16):
        model, outputs = network(np.random.default_rng(seed), "c", ("Conv", "depthwise Conv"), 1)
        path = tmp_path / f"{seed}.espdl"
        path.write_bytes(model.build(outputs))
        try:
            check_espdl(Espdl().load(path, "c"))
            verdicts.add("taken")
        except UnsupportedError as error:
            verdicts.add(re.sub(r"\d+", "N", error.message.partition(";")[0].partition(" over")[0]))
    assert verdicts == {"taken", "operator N (Conv) has N groups"}


def test_weights_of_8_bits_with_data_of_16_are_refused_for_esp_dl(generate: Generate) -> None:
    artifact, _ = generate(runtime="espdl")
    with pytest.raises(UnsupportedError, match="mnist_mlp is w8a16, which ESP-DL"):
        check_espdl(dataclasses.replace(artifact, scheme="w8a16"))


# Building.


@pytest.fixture
def idf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in is the active ESP-IDF; gives the directory it records in."""
    for name, value in active_idf(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_one_build_serves_every_model_of_a_runtime(generate: Generate, idf: Path, tmp_path: Path) -> None:
    artifact, project = generate("mnist_mlp")
    image = build(project, artifact, build_root=tmp_path / "images")
    first, second = idf_calls(idf)
    assert first["arguments"][-1] == "build"
    assert second["arguments"][-1] == "size"
    assert "-DIDF_TARGET=esp32c3" in first["arguments"]
    assert f"-DFIRMWARE_DIGEST={image.digest}" in first["arguments"]
    assert first["files"] == list(project.tree)
    assert (image.compiler, image.cached) == ("ESP-IDF 5.5.1", False)
    assert "Total image size" in image.build_log.read_text(encoding="utf-8")
    assert (image.elf.parent / "dependencies.lock").is_file()
    assert image.text_bytes > 0

    other, its_project = generate("himax_cnn")
    again = build(its_project, other, build_root=tmp_path / "images")
    assert len(idf_calls(idf)) == 2
    assert (again.digest, again.cached) == (image.digest, True)
    assert image.flash is not None
    assert again.flash is not None
    assert again.flash.artifact == other.digest
    assert [part.name for part in image.flash.changed_parts(None)][-1] == "model"
    device = {"target": "esp32c3", "firmware": image.digest, "artifact": artifact.digest}
    (changed,) = again.flash.changed_parts(device)
    assert (changed.name, changed.offset) == ("model", 0x190000)
    assert changed.file.read_bytes() == encode(other)
    assert image.flash.changed_parts(device) == ()


@pytest.mark.usefixtures("idf")
def test_a_setting_that_esp_idf_passes_over_is_an_error(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDF_STAND_IN_UNKNOWN", "CONFIG_SPIRAM")
    artifact, project = generate(chip="esp32s3")
    with pytest.raises(BuildError, match=r"ESP-IDF 5\.5\.1 did not take CONFIG_SPIRAM=y: it does not know"):
        build(project, artifact, build_root=tmp_path / "images")
    monkeypatch.delenv("IDF_STAND_IN_UNKNOWN")
    image = build(project, artifact, build_root=tmp_path / "images")
    assert not image.cached, "what was refused is not kept"
    assert "CONFIG_SPIRAM=y" in (image.elf.parent / "sdkconfig").read_text(encoding="utf-8").splitlines()


@pytest.mark.usefixtures("idf")
def test_settings_of_the_users_own_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_BUILD_ROOT", raising=False)
    own = tmp_path / "own"
    own.write_text("# a module with quad PSRAM\n\nCONFIG_SPIRAM_MODE_QUAD=y\n", encoding="utf-8")
    arguments = ["build", "mnist_mlp", "--target", "esp32s3", "--sdkconfig", str(own)]
    assert cli.main(arguments) == 0
    (sdkconfig,) = (tmp_path / "build/images").glob("*/sdkconfig")
    assert sdkconfig.read_text(encoding="utf-8").splitlines()[-1] == "CONFIG_SPIRAM_MODE_QUAD=y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"--sdkconfig: cannot read \S+: No such file or directory"),
        (
            "CONFIG_SPIRAM_MODE_QUAD=yes",
            r"expected a setting in \S+, line 1, got 'CONFIG_SPIRAM_MODE_QUAD=yes'",
        ),
        ("\nSPIRAM=y", r"line 2, got 'SPIRAM=y'. e.g. CONFIG_SPIRAM_MODE_QUAD=y"),
        ("\x00\xff", "it is no text"),
    ],
)
def test_settings_that_are_none(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "own").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=said):
        read_own(str(tmp_path / "own"))


def test_idf_py_runs_in_esp_idfs_own_python(
    generate: Generate, idf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which need not be the first on PATH: that is the environment the harness runs in."""
    python = tmp_path / "python_env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("IDF_PYTHON_ENV_PATH", str(tmp_path / "python_env"))
    artifact, project = generate()
    build(project, artifact, build_root=tmp_path / "images")
    assert (tmp_path / "asked").read_text().splitlines() == 2 * [str(STAND_IN / "idf.py")]
    assert len(idf_calls(idf)) == 2


def test_a_model_in_the_app_is_part_of_the_firmware(generate: Generate, idf: Path, tmp_path: Path) -> None:
    digests = set()
    for model in ("mnist_mlp", "himax_cnn"):
        artifact, project = generate(model, layout=Layout(model_in_app=True))
        image = build(project, artifact, build_root=tmp_path / "images")
        digests.add(image.digest)
        assert image.flash is not None
        assert image.flash.model is None
    assert len(digests) == 2
    assert "model.bin" in idf_calls(idf)[0]["files"]


TOO_SMALL = """\
Error: app partition is too small for binary firmware.bin size 0x104000:
  - Part 'factory' 0/0 @ 0x10000 size 0x100000 (overflow 0x4000)
ninja failed with exit code 1"""
NO_REGISTRY = (
    "ERROR: Cannot establish a connection to the component registry at https://components.espressif.com\n"
)
NO_RAM = (
    "ld: firmware.elf section `.dram0.bss' will not fit\nld: region `dram0_0_seg' overflowed by 40960 bytes\n"
)
COMPILE_ERROR = "[1/9] Building C object\nmain.c:3:5: error: unknown type name 'foo'\nninja: build stopped\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (TOO_SMALL, r"1040 KiB, its partition has 1024 KiB: 16 KiB too much .*300 000.*--app-size 1280K"),
        (NO_RAM, r"static data go 40 KiB beyond the chip's RAM \(dram0_0_seg\)\. Use --kernels vendor"),
        (NO_REGISTRY, "component registry cannot be reached"),
        (COMPILE_ERROR, "does not build: main.c:3:5: error: unknown type name 'foo'. The whole log"),
        (
            "Because no versions of espressif/esp-dl match >=3.3.6, version solving failed.",
            "has no espressif/esp-dl",
        ),
    ],
)
@pytest.mark.usefixtures("idf")
def test_a_failed_build_says_why(
    said: str, expected: str, generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_text(said, encoding="utf-8")
    monkeypatch.setenv("IDF_STAND_IN_FAILS", str(tmp_path / "said"))
    artifact, project = generate()
    with pytest.raises(BuildError, match=expected) as failure:
        build(project, artifact, build_root=tmp_path / "images")
    log = Path(str(failure.value).rpartition("The whole log: ")[2])
    assert said in log.read_text(encoding="utf-8")
    left = {path for path in (tmp_path / "images").iterdir() if path.suffix != ".lock"}
    assert left == {log}


def test_without_esp_idf_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IDF_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build", "mnist_mlp", "--target", "esp32c3"]) == 2
    assert "ESP-IDF is not active: IDF_PATH is not set" in capsys.readouterr().err


@pytest.mark.parametrize("version", [(5, 3), (6, 1), (4, 4)])
def test_another_version_of_esp_idf_is_refused(
    version: tuple[int, int], generate: Generate, idf: Path, tmp_path: Path
) -> None:
    active_idf(tmp_path, version)
    artifact, project = generate()
    with pytest.raises(
        MissingError, match=rf"expected ESP-IDF >=5.4,<6.1, .* is {version[0]}\.{version[1]}\.1"
    ):
        build(project, artifact, build_root=tmp_path / "images")
    assert idf_calls(idf) == []


@pytest.mark.usefixtures("idf")
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_BUILD_ROOT", raising=False)
    assert cli.main(["build", "mnist_mlp", "--target", "esp32s3", "--runtime", "espdl"]) == 0
    assert "built with ESP-IDF 5.5.1" in capsys.readouterr().out
    assert cli.main(["build", "mnist_mlp", "--target", "esp32s3", "--runtime", "espdl"]) == 0
    assert "found, built before" in capsys.readouterr().out
    arguments = ["generate", "mnist_mlp", "--target", "esp32c3", "--platform", "esp_idf", "--out", "made"]
    assert cli.main(arguments) == 0
    assert "idf.py -C made set-target esp32c3 build" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "esp32c3", "--flash-size", "3MB"), "expected one of 2MB, 4MB"),
        (("--target", "esp32c3", "--flash-size", "lots"), "--flash-size expects a size"),
        (("--target", "esp32c3", "--app-size", "1000"), "no multiple of 4096"),
        (("--target", "esp32c3", "--flash-size", "2MB", "--app-size", "1984K"), "--flash-size 4MB"),
        (("--target", "esp32h2", "--runtime", "espdl"), "ESP-DL does not support esp32h2"),
        (
            ("--target", "esp32c3", "--runtime", "espdl", "--kernels", "vendor-ansi"),
            "no kernels 'vendor-ansi'",
        ),
        (("--target", "himax_we1"), "ESP-IDF does not know himax_we1"),
        ((), "for one chip"),
    ],
)
def test_bad_choices_write_nothing(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["generate", "mnist_mlp", "--kernels", "vendor", "--out", str(out), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_model_larger_than_the_flash_is_refused(generate: Generate) -> None:
    with pytest.raises(UsageError, match=r"need .* of flash.*--flash-size 4MB"):
        generate(layout=Layout(flash_bytes=2 << 20, app_bytes=1984 << 10))
