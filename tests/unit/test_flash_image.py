"""What is written to a device that says this or that, and the build directories it is read from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BuildError
from harness.toolchains.flash_image import FlashImage, FlashPart, flash_size_bytes, read_idf_build

# As ESP-IDF 5.4 writes it; options of esptool older than version 5 included.
FLASHER_ARGS: dict[str, Any] = {
    "write_flash_args": ["--flash_mode", "dio", "--flash_size", "4MB", "--flash_freq", "80m"],
    "flash_settings": {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "80m"},
    "flash_files": {
        "0x0": "bootloader/bootloader.bin",
        "0x10000": "engine.bin",
        "0x8000": "partition_table/partition-table.bin",
        "0x110000": "model.bin",
    },
    "bootloader": {"offset": "0x0", "file": "bootloader/bootloader.bin", "encrypted": "false"},
    "app": {"offset": "0x10000", "file": "engine.bin", "encrypted": "false"},
    "partition-table": {
        "offset": "0x8000",
        "file": "partition_table/partition-table.bin",
        "encrypted": "false",
    },
    "model": {"offset": "0x110000", "file": "model.bin", "encrypted": "false"},
    "extra_esptool_args": {"after": "hard_reset", "before": "default_reset", "stub": True, "chip": "esp32s3"},
}


def build_directory(directory: Path, said: object = FLASHER_ARGS) -> Path:
    for file in FLASHER_ARGS["flash_files"].values():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
    (directory / "flasher_args.json").write_text(json.dumps(said))
    return directory


def read(directory: Path) -> FlashImage:
    return read_idf_build(
        directory, directory / "engine.elf", firmware="f" * 64, artifact="a" * 64, model_partition="model"
    )


def test_an_idf_build_is_read(tmp_path: Path) -> None:
    image = read(build_directory(tmp_path))
    assert (image.target, image.flash_bytes, image.flash_mode, image.flash_freq) == (
        "esp32s3",
        4 << 20,
        "dio",
        "80m",
    )
    assert [(part.name, part.offset) for part in image.parts] == [
        ("bootloader", 0x0),
        ("partition-table", 0x8000),
        ("app", 0x10000),
    ]
    assert image.model == FlashPart("model", 0x110000, tmp_path / "model.bin")
    image.check_layout()


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        {
            **FLASHER_ARGS,
            "flash_settings": {"flash_mode": "dio", "flash_size": "detect", "flash_freq": "80m"},
        },
        {**FLASHER_ARGS, "flash_files": {"here": "engine.bin"}},
        {**FLASHER_ARGS, "flash_files": ["engine.bin"]},
        {**FLASHER_ARGS, "extra_esptool_args": None},
    ],
)
def test_what_is_no_idf_build_is_refused_in_one_line(said: object, tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"expected an ESP-IDF build in .*Build it again: idf\.py build"
    ) as caught:
        read(build_directory(tmp_path, said))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"expected an ESP-IDF build in .*FileNotFoundError"):
        read(tmp_path)
    (build_directory(tmp_path) / "model.bin").unlink()
    with pytest.raises(BuildError, match=r"names .*/model\.bin, which is not there"):
        read(tmp_path)


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    image = read(build_directory(tmp_path))
    same = {"target": "esp32s3", "firmware": "f" * 64, "artifact": "a" * 64}
    assert image.changed_parts(same) == ()
    assert image.changed_parts({**same, "artifact": "b" * 64}) == (image.model,)
    for other in (None, {}, {**same, "firmware": "0" * 64}, {**same, "target": "esp32c3"}):
        assert image.changed_parts(other) == (*image.parts, image.model)
    linked = replace(image, model=None)
    assert linked.changed_parts({**same, "artifact": "b" * 64}) == linked.parts
    assert linked.changed_parts(same) == ()


def test_parts_that_overlap_or_do_not_fit(tmp_path: Path) -> None:
    image = read(build_directory(tmp_path))
    assert image.model
    image.model.file.write_bytes(bytes(0x2F0000))
    image.check_layout()
    image.model.file.write_bytes(bytes(0x2F0001))
    with pytest.raises(BuildError, match=r"model \(\d+ bytes at 0x110000\) goes beyond 0x400000, the end"):
        image.check_layout()
    (tmp_path / "engine.bin").write_bytes(bytes(0x100001))
    with pytest.raises(BuildError, match=r"app \(1048577 bytes .*\) goes beyond 0x110000, where model"):
        image.check_layout()


def test_flash_sizes() -> None:
    assert (flash_size_bytes("4MB"), flash_size_bytes("512KB")) == (4 << 20, 512 << 10)
    for text in ("", "MB", "4", "-4MB", "detect"):
        with pytest.raises(ValueError, match="expected a flash size"):
            flash_size_bytes(text)
