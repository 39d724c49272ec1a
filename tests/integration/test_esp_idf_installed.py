"""What only an ESP-IDF can say of a generated project: HARNESS_TEST_IDF_PATH=$IDF_PATH ./run test.

A variable of its own, since with an active ESP-IDF the bench takes other boards than other tests are about.
Without it the build alone is tested, with the stand-in for idf.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.targets import get_target
from harness.toolchains.esp_idf.partitions import FLASH_SIZES_MB, Layout
from harness.toolchains.esp_idf.sdkconfig import CHIPS, chip_defaults, defaults, not_taken
from harness.toolchains.flash_image import read_idf_build
from tests.idf_projects import idf_project
from tests.stand_in.idf_builds import active_idf

IDF = os.environ.get("HARNESS_TEST_IDF_PATH", "")
installed = pytest.mark.skipif(
    not IDF, reason="needs ESP-IDF >=5.4,<6.1: HARNESS_TEST_IDF_PATH=$IDF_PATH ./run test"
)


@installed
@pytest.mark.parametrize("flash_mb", FLASH_SIZES_MB)
@pytest.mark.parametrize("in_app", [False, True])
def test_gen_esp32part_takes_the_table(flash_mb: int, in_app: bool, tmp_path: Path) -> None:
    _, project = idf_project(tmp_path / "project", layout=Layout(flash_mb << 20, model_in_app=in_app))
    tool = [sys.executable, str(Path(IDF, "components/partition_table/gen_esp32part.py"))]
    table = tmp_path / "table.bin"
    asked = [*tool, "--flash-size", f"{flash_mb}MB", str(project.directory / "partitions.csv"), str(table)]
    subprocess.run(asked, check=True, capture_output=True)
    read = subprocess.run([*tool, str(table)], check=True, capture_output=True, text=True).stdout
    rows = [line.split(",") for line in read.splitlines() if not line.startswith("#")]
    assert [(row[0], int(row[3], 0), size_of(row[4])) for row in rows] == [
        (partition.name, partition.offset, partition.size) for partition in project.partitions
    ]


def size_of(text: str) -> int:
    digits = text.rstrip("KM")
    return int(digits) << {"": 0, "K": 10, "M": 20}[text[len(digits) :]]


@installed
@pytest.mark.parametrize("chip", CHIPS)
def test_kconfgen_takes_every_default(chip: str, tmp_path: Path) -> None:
    """With the menus of all components; which of them a build has, the build itself is asked."""
    target = get_target(chip)
    files = defaults(target, Layout(), ()), chip_defaults(target)
    components = Path(IDF, "components")
    for name, pattern in (("kconfigs", "*/Kconfig"), ("projbuild", "*/Kconfig.projbuild")):
        sourced = "".join(f'source "{path}"\n' for path in sorted(components.glob(pattern)))
        (tmp_path / name).write_text(sourced)
    version = re.findall(r"IDF_VERSION_\w+ (\d+)", Path(IDF, "tools/cmake/version.cmake").read_text())
    environment = {
        "COMPONENT_KCONFIGS_SOURCE_FILE": str(tmp_path / "kconfigs"),
        "COMPONENT_KCONFIGS_PROJBUILD_SOURCE_FILE": str(tmp_path / "projbuild"),
        "IDF_PATH": IDF,
        "IDF_TARGET": chip,
        "IDF_TOOLCHAIN": "gcc",
        "IDF_VERSION": ".".join(version[:3]),
        "IDF_INIT_VERSION": ".".join(version[:3]),
        **dict.fromkeys(("IDF_ENV_FPGA", "IDF_CI_BUILD"), ""),
    }
    command = [sys.executable, "-m", "kconfgen", "--kconfig", str(Path(IDF, "Kconfig"))]
    for number, text in enumerate(files):
        (tmp_path / f"defaults{number}").write_text(text, encoding="utf-8")
        command += ["--defaults", str(tmp_path / f"defaults{number}")]
    settled = tmp_path / "sdkconfig"
    command += ["--sdkconfig-rename", str(Path(IDF, "sdkconfig.rename")), "--output", "config", str(settled)]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    asked = [line for text in files for line in text.splitlines()]
    assert len(asked) > 9
    assert not_taken(asked, settled.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("idf", ["stand-in", pytest.param("installed", marks=installed)])
def test_harness_build(
    idf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    active = active_idf(tmp_path) if idf == "stand-in" else exported(tmp_path)
    for name, value in {**active, "HARNESS_BUILD_ROOT": str(tmp_path / "build")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    command = ["build", "mnist_mlp", "--target", "esp32s3", "--runtime", "tflm"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    elf = Path(said.partition(": built with ESP-IDF ")[0])
    assert elf.is_file()
    assert re.search(r"0x190000 +model +2496 KiB  model\.bin", said)
    image = read_idf_build(elf.parent / "flash", elf, firmware="", artifact="")
    assert (image.target, image.flash_bytes) == ("esp32s3", 4 << 20)
    parts = [(part.name, part.offset) for part in image.parts]
    assert parts == [("bootloader", 0), ("partition-table", 0x8000), ("app", 0x10000)]
    assert "CONFIG_SPIRAM=y" in (elf.parent / "sdkconfig").read_text(encoding="utf-8").splitlines()
    assert cli.main(command) == 0
    assert ": found, built before\n" in capsys.readouterr().out
    if idf == "installed":
        assert elf.read_bytes()[18:20] == (94).to_bytes(2, "little"), "an ELF for Xtensa"
        assert b"mnist_mlp" not in elf.read_bytes(), "one firmware for every model"


def exported(directory: Path) -> dict[str, str]:
    """The environment that export.sh makes."""
    script = f'. "{IDF}/export.sh" >/dev/null && env -0'
    said = subprocess.run(["bash", "-c", script], cwd=directory, capture_output=True, text=True, check=True)
    return dict(entry.split("=", 1) for entry in said.stdout.split("\0") if "=" in entry)
