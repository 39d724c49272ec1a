"""Generated ESP-IDF projects, read by Espressif's own Python tools and by CMake.

PyPI has Espressif's Kconfig library and checker, component manager and idf-build-apps; all are in tox's
environment `test`, so nothing here skips. It has none of theirs for partition tables: gen_esp32part.py
is in ESP-IDF's tree alone. So the tables are held to its rules here, and shown to it in
test_esp_idf_installed.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import esp_kconfiglib.core as kconfiglib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idf_component_tools.manager import ManifestManager

from harness.bundled import firmware_dir
from harness.errors import UsageError
from harness.targets import get_target
from harness.toolchains.esp_idf.engines import ENGINES
from harness.toolchains.esp_idf.partitions import FLASH_SIZES_MB, Layout, Partition, plan, to_csv
from harness.toolchains.esp_idf.sdkconfig import CHIPS, chip_defaults, defaults
from tests.idf_projects import configured, idf_project, not_required
from tests.stand_in.idf_builds import active_idf

PLATFORM = firmware_dir() / "platforms/esp_idf"
ENGINE_KERNELS = [(name, kernels) for name, engine in ENGINES.items() for kernels in engine.kernels]
# What our menu asks of ESP-IDF's.
FOREIGN = ("SOC_USB_SERIAL_JTAG_SUPPORTED", "SPIRAM", "FREERTOS_UNICORE")


# Kconfig and sdkconfig: esp-idf-kconfig.


def menu(directory: Path) -> kconfiglib.Kconfig:
    """Our menu, below the few symbols of ESP-IDF's that it names."""
    symbols = "".join(f"config {name}\n    bool\n    default y\n" for name in FOREIGN)
    whole = directory / "Kconfig"
    whole.write_text(
        f'mainmenu "test"\n{symbols}source "{PLATFORM / "Kconfig.projbuild"}"\n', encoding="utf-8"
    )
    return kconfiglib.Kconfig(str(whole), print_report=False)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [("", "", None), ("        int", "       int", "Indentation consists of 7 spaces instead of 8")],
)
def test_the_checker_of_esp_idf_on_our_menu(old: str, new: str, fault: str | None, tmp_path: Path) -> None:
    """Indents, names, common prefixes, line lengths. Of an sdkconfig.defaults it checks no syntax."""
    copy = tmp_path / "Kconfig.projbuild"  # it writes beside what it reads
    copy.write_text((PLATFORM / copy.name).read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    command = [sys.executable, "-m", "kconfcheck", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == (1 if fault else 0), said
    assert (fault or "1 file have been successfully checked") in said


def test_every_name_that_firmware_and_engines_use_is_in_the_menu(tmp_path: Path) -> None:
    kconfig = menu(tmp_path)
    named = {match for path in (*PLATFORM.glob("*.[chS]"),) for match in _harness_names(path.read_text())}
    named |= {
        name for engine in ENGINES.values() for line in engine.definitions for name in _harness_names(line)
    }
    assert len(named) > 5
    assert named <= set(kconfig.syms)
    assert kconfig.syms["HARNESS_UART_BAUD"].str_value == "115200"
    assert kconfig.syms["HARNESS_ESPDL_DUAL_CORE"].str_value == "n"


def _harness_names(text: str) -> list[str]:
    return re.findall(r"CONFIG_(HARNESS_[A-Z_]+)", text)


LAYOUTS = (
    Layout(),
    Layout(flash_bytes=16 << 20, model_in_app=True),
    Layout(flash_bytes=2 << 20, usb_serial=True),
    Layout(model_in_app=True, usb_serial=True),
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_our_menu_takes_every_default_that_is_its_own(layout: Layout, tmp_path: Path) -> None:
    for chip in CHIPS:
        unknown, values = loaded(
            tmp_path, defaults(get_target(chip), layout, ()) + chip_defaults(get_target(chip))
        )
        assert [name for name in unknown if name.startswith("HARNESS_")] == []
        assert values["HARNESS_MODEL_IN_APP"] == ("y" if layout.model_in_app else "n")
        assert values["HARNESS_SERIAL_USB"] == ("y" if layout.usb_serial else "n")


def test_a_default_that_our_menu_does_not_know_is_found(tmp_path: Path) -> None:
    unknown, _ = loaded(tmp_path, "CONFIG_HARNESS_MODEL_INAPP=y\n")
    assert unknown == ["HARNESS_MODEL_INAPP"]


def loaded(directory: Path, text: str) -> tuple[list[str], dict[str, str]]:
    """Which settings our menu and FOREIGN do not know, and what the known ones are then."""
    kconfig = menu(directory)
    (directory / "sdkconfig.defaults").write_text(text, encoding="utf-8")
    kconfig.load_config(str(directory / "sdkconfig.defaults"), print_report=False)
    unknown = [name for name, _ in kconfig.missing_syms]
    return unknown, {name: symbol.str_value for name, symbol in kconfig.syms.items()}


# The component manager, and idf-build-apps.


@pytest.mark.parametrize(("runtime", "kernels"), ENGINE_KERNELS)
def test_the_component_manager_reads_the_manifest(tmp_path: Path, runtime: str, kernels: str) -> None:
    _, project = idf_project(tmp_path / "project", runtime=runtime, kernels=kernels)
    manifest = ManifestManager(str(project.directory / "main"), "main").load()
    found = {requirement.name: requirement.version_spec for requirement in manifest.raw_requirements}
    assert found == {"idf": str(ENGINES[runtime].idf), **ENGINES[runtime].components}


def test_idf_build_apps_finds_each_project_for_its_chip_alone(tmp_path: Path) -> None:
    chips = ("esp32s3", "esp32c3", "esp32p4")
    for chip in chips:
        idf_project(tmp_path / "apps" / f"on_{chip}", kernels="portable", chip=chip)
    environment = {**os.environ, **active_idf(tmp_path)}
    # It takes the names of all chips from ESP-IDF's own tree.
    actions = tmp_path / "esp-idf/tools/idf_py_actions"
    actions.mkdir()
    (actions / "constants.py").write_text(f"SUPPORTED_TARGETS = {list(CHIPS)}\nPREVIEW_TARGETS = []\n")
    command = [sys.executable, "-m", "idf_build_apps", "find", "-p", "apps", "--recursive", "-t", "all"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    found = re.findall(
        r"\(cmake\) App \./apps/on_(\w+), target (\w+), ", done.stdout.replace("App apps", "App ./apps")
    )
    assert sorted(found) == sorted((chip, chip) for chip in chips)


# CMake.


@pytest.mark.parametrize(
    ("runtime", "kernels", "usb", "in_app"),
    [
        ("tflm", "vendor", False, False),
        ("tflm", "vendor", True, True),
        ("espdl", "vendor", True, False),
        ("espdl", "vendor", False, True),
        ("espdl-v1", "vendor", False, True),
        ("tflm", "portable", True, False),
    ],
)
def test_cmake_reads_the_lists_and_finds_every_source(
    runtime: str, kernels: str, usb: bool, in_app: bool, tmp_path: Path
) -> None:
    layout = Layout(model_in_app=in_app)
    _, project = idf_project(tmp_path / "project", "himax_cnn", runtime, kernels, "esp32s3", layout)
    settings = (project.directory / "sdkconfig.defaults").read_text(encoding="utf-8").splitlines()
    options = [f"-D{line}" for line in settings if line.startswith("CONFIG_HARNESS_")]
    sources, said = configured(project.directory, tmp_path, *options, f"-DCONFIG_HARNESS_SERIAL_USB={usb}")

    there = {name for name in project.tree if name.endswith((".c", ".cc", ".cpp", ".S"))}
    there.remove(f"firmware/platforms/esp_idf/serial_{'uart' if usb else 'usb'}.c")
    if kernels != "portable" and not in_app:
        there.remove("firmware/platforms/esp_idf/model_in_app.S")
    assert sources == {project.directory / name for name in there}
    flashed = f"flash model {project.directory}/main/../model.bin"
    assert (flashed in said) == (kernels != "portable" and not in_app)


def test_cmake_misses_a_source_that_is_not_there(tmp_path: Path) -> None:
    _, project = idf_project(tmp_path / "project", kernels="portable")
    (project.directory / "firmware/core/cobs.c").unlink()
    with pytest.raises(AssertionError, match=r"Cannot find source file:\s+\.\./firmware/core/cobs\.c"):
        configured(project.directory, tmp_path)


@pytest.mark.parametrize(("runtime", "kernels"), [*ENGINE_KERNELS, ("tflm", "portable")])
def test_every_header_of_esp_idf_is_of_a_required_component(
    runtime: str, kernels: str, tmp_path: Path
) -> None:
    """The portable kernels' lists are the same for every runtime; tvm's own project: test_tvm_loop.py."""
    _, project = idf_project(tmp_path / "project", "himax_cnn", runtime, kernels)
    assert not_required(project.directory, tmp_path) == []


def test_a_component_that_is_not_required_is_found(tmp_path: Path) -> None:
    _, project = idf_project(tmp_path / "project", kernels="portable")
    lists = project.directory / "main/CMakeLists.txt"
    lists.write_text(lists.read_text(encoding="utf-8").replace(" esp_timer ", " "), encoding="utf-8")
    assert not_required(project.directory, tmp_path) == [
        "firmware/platforms/esp_idf/platform.c: esp_timer.h is of esp_timer"
    ]


# Partition tables.


@given(
    st.sampled_from(FLASH_SIZES_MB),
    st.integers(0, 24 << 8).map(lambda sectors: sectors * 0x1000),
    st.booleans(),
    st.integers(0, 40 << 20),
)
def test_every_table_keeps_the_rules_of_esp_idf(
    flash_mb: int, app_bytes: int, in_app: bool, image_bytes: int
) -> None:
    layout = Layout(flash_mb << 20, app_bytes, in_app)
    try:
        table = plan(layout, image_bytes, "m")
    except UsageError:
        return
    keeps_the_rules(table, layout.flash_bytes)
    model = [row for row in table if row.name == "model"]
    assert len(model) == (image_bytes > 0 and not in_app)
    assert all(row.size >= image_bytes for row in model)


def keeps_the_rules(table: tuple[Partition, ...], flash_bytes: int) -> None:
    """What gen_esp32part.py asks of a table, and ESP-IDF's start-up code of the app."""
    rows = [line.split(", ") for line in to_csv(table).splitlines() if not line.startswith("#")]
    assert [tuple(row[:3]) for row in rows] in (
        [("factory", "app", "factory")],
        [("factory", "app", "factory"), ("model", "data", "undefined")],
    )
    end = 0x9000  # the table itself lies at 0x8000
    for name, kind, _, offset, size in rows:
        assert len(name.encode()) <= 16
        start, length = int(offset, 0), int(size, 0)
        assert start >= end, "partitions overlap"
        assert start % (0x10000 if kind == "app" else 0x1000) == 0
        assert length > 0
        assert length % 0x1000 == 0
        end = start + length
    assert end <= flash_bytes
