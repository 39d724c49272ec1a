"""Bare-metal builds: what they are named by, that they are reproducible, and how they fail."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
import shutil
from pathlib import Path

import pytest

from harness import bundled
from harness.bundled import firmware_dir
from harness.errors import BuildError, MissingError, OutputError, UsageError
from harness.runtimes.base import Project
from harness.targets import get_target
from harness.toolchains.bare_metal import PLATFORMS, build, required_programs
from harness.toolchains.base import Image
from harness.toolchains.programs import APT_PACKAGES, install_line, require_program
from tests.firmware_demo import DEMO

TARGET = get_target("esp32c3")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A private copy of the demo engine."""
    return copy_project(tmp_path / "project")


def copy_project(directory: Path) -> Project:
    directory.mkdir(parents=True)
    source = Path(shutil.copy(DEMO.sources[0], directory))
    (directory / "include").mkdir()
    return Project(directory, (source,), (directory / "include",), 36)


def build_riscv(project: Project, build_root: Path, **options: dict[str, str]) -> Image:
    return build(project, TARGET, "qemu_riscv32", build_root=build_root, **options)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_second_build_finds_the_first(platform: str, project: Project, tmp_path: Path) -> None:
    first = build(project, TARGET, platform, build_root=tmp_path / "out")
    second = build(project, TARGET, platform, build_root=tmp_path / "out")
    assert (first.cached, second.cached) == (False, True)
    assert second == dataclasses.replace(first, cached=True)
    assert first.elf.parent.name == f"esp32c3-{platform}-{first.digest[:12]}"
    assert sorted(path.name for path in first.elf.parent.iterdir()) == [
        "build.log",
        "firmware.elf",
        "firmware.map",
        "image.json",
    ]


@pytest.mark.parametrize("platform", ["qemu_riscv32", "qemu_xtensa"])
def test_the_same_sources_elsewhere_make_the_same_bytes(platform: str, tmp_path: Path) -> None:
    images = [
        build(copy_project(tmp_path / name / "p"), TARGET, platform, build_root=tmp_path / name / "out")
        for name in ("here", "somewhere_else")
    ]
    assert images[0].digest == images[1].digest
    elf = images[0].elf.read_bytes()
    assert elf == images[1].elf.read_bytes()
    for trace in (str(tmp_path), str(firmware_dir()), ".building-"):
        assert trace.encode() not in elf
    assert images[0].digest.encode() in elf


def test_everything_that_is_built_from_is_in_the_digest(project: Project, tmp_path: Path) -> None:
    def digest(**options: dict[str, str]) -> str:
        return build_riscv(project, tmp_path / "out", **options).digest

    header = project.include_dirs[0] / "below" / "shape.h"
    header.parent.mkdir()
    digests = [digest(), digest(defines={"LINK_MAX_PAYLOAD": "1024"})]
    header.write_text("/* none uses it yet */\n")
    digests.append(digest())
    change(project.sources[0], "bias = 1000", "bias = 1001")
    digests.append(digest())
    digests.append(build(project, get_target("esp32c6"), "qemu_riscv32", build_root=tmp_path / "out").digest)
    assert len(set(digests)) == len(digests)


def test_a_damaged_cache_entry_is_built_again(project: Project, tmp_path: Path) -> None:
    first = build_riscv(project, tmp_path)
    whole = first.elf.read_bytes()
    first.elf.write_bytes(whole[: len(whole) // 2])
    again = build_riscv(project, tmp_path)
    assert not again.cached
    assert again.elf.read_bytes() == whole


def test_sizes_come_from_the_sections_and_leave_the_stack_out(project: Project, tmp_path: Path) -> None:
    before = build_riscv(project, tmp_path)
    change(
        project.sources[0],
        "static int32_t bias = 1000;",
        "static int32_t bias = 1000;\n"
        "static const uint8_t constant[10000] = {1};\n"
        "static volatile uint8_t initialised[3000] = {1};\n"
        "static volatile uint8_t zeroed[5000];",
    )
    change(
        project.sources[0],
        "int64_t total = bias;",
        "int64_t total = bias + constant[in[1] & 7] + initialised[in[1] & 7] + zeroed[in[1] & 7];",
    )
    after = build_riscv(project, tmp_path)
    # Sections are rounded up to 16 bytes.
    assert after.rodata_bytes - before.rodata_bytes == pytest.approx(10_000, abs=16)
    assert after.data_bytes - before.data_bytes == pytest.approx(3_000, abs=16)
    assert after.bss_bytes - before.bss_bytes == pytest.approx(5_000, abs=16)
    assert before.ram_bytes < 16_384  # the stack alone has 32 KiB


def test_a_compile_error_names_file_line_and_log(project: Project, tmp_path: Path) -> None:
    change(project.sources[0], "int64_t total = bias;", "int64_t total = bais;")
    with pytest.raises(BuildError) as caught:
        build_riscv(project, tmp_path / "out")
    message = str(caught.value)
    assert "project/demo_engine.c does not compile for esp32c3/qemu_riscv32" in message
    assert re.search(r"demo_engine\.c:\d+:\d+: error: 'bais' undeclared", message)
    log = Path(message.rsplit(" ", 1)[1])
    assert "'bais' undeclared" in log.read_text()
    assert list((tmp_path / "out").glob("[!.]*")) == [log]


def test_warnings_are_errors(project: Project, tmp_path: Path) -> None:
    change(project.sources[0], "int64_t total = bias;", "int64_t total = bias; int8_t x = bias; (void)x;")
    with pytest.raises(BuildError, match="-Werror=conversion"):
        build_riscv(project, tmp_path / "out")


def test_a_link_error_says_what_is_missing(project: Project, tmp_path: Path) -> None:
    change(
        project.sources[0], "int64_t total = bias;", "extern int32_t nobody(void); int64_t total = nobody();"
    )
    with pytest.raises(BuildError, match=r"does not link .* undefined reference to `nobody'"):
        build_riscv(project, tmp_path / "out")


def test_a_network_beyond_the_machines_memory(project: Project, tmp_path: Path) -> None:
    change(project.sources[0], "static int32_t sum;", "static int32_t sum;\nuint8_t arena[0x4000000];")
    change(project.sources[0], "int64_t total = bias;", "int64_t total = bias + arena[in[1] & 7];")
    with pytest.raises(BuildError, match=r"does not link .* will not fit in region `RAM'"):
        build_riscv(project, tmp_path / "out")


@pytest.mark.parametrize(
    ("platform", "package"),
    [
        ("host", "gcc"),
        ("qemu_riscv32", "gcc-riscv64-unknown-elf"),
        ("qemu_xtensa", "gcc-xtensa-lx106"),
    ],
)
def test_a_missing_compiler(
    platform: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        build(DEMO, TARGET, platform, build_root=tmp_path)
    (program,) = required_programs(platform)
    assert str(caught.value) == f"{program} is not installed. Run: apt-get install {package}"


def test_programs_of_one_package_are_named_once() -> None:
    assert install_line(["qemu-system-xtensa", "qemu-system-riscv32", "gcc"]) == (
        "apt-get install gcc qemu-system-misc"
    )
    assert require_program("gcc").name == "gcc"
    assert {program for platform in PLATFORMS for program in required_programs(platform)} <= set(APT_PACKAGES)


def test_a_build_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write the build directory .*/file"):
        build_riscv(DEMO, tmp_path / "file")


def test_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown platform 'avr'. Known platforms: host, "):
        build(DEMO, TARGET, "avr", build_root=tmp_path)
    with pytest.raises(UsageError, match="no sanitizers"):
        build(DEMO, TARGET, "qemu_riscv32", build_root=tmp_path, sanitize=True)


def test_two_processes_build_the_same_at_once(project: Project, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        images = pool.starmap(build_riscv, [(project, tmp_path / "out")] * 2)
    assert images[0].elf == images[1].elf
    assert sorted(image.cached for image in images) == [False, True]
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == [images[0].elf.parent.name]
    assert build_riscv(project, tmp_path / "out").cached


def test_sources_bundled_in_a_wheel_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "harness" / "_bundled" / "firmware"
    sources.mkdir(parents=True)
    monkeypatch.setattr(bundled, "PACKAGE", tmp_path / "harness")
    with pytest.raises(MissingError, match="firmware/ is neither"):
        firmware_dir()
    (sources / "engine.h").touch()
    assert firmware_dir() == sources
