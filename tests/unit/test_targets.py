"""The table of chips."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.targets import TARGETS, get_target
from harness.toolchains.bare_metal import PLATFORMS


def test_a_target_by_name() -> None:
    target = get_target("esp32c3")
    assert (target.id, target.name, target.isa) == ("esp32c3", "ESP32-C3", "riscv32")
    assert (target.clock_hz, target.isa_platform) == (160_000_000, "qemu_riscv32")


def test_every_target_but_himax_has_a_platform_of_its_instruction_set() -> None:
    for target in TARGETS.values():
        if target.isa_platform is None:
            continue
        assert target.isa_platform == f"qemu_{target.isa}"
        assert target.isa_platform in PLATFORMS


def test_himax_is_generate_only_with_its_sdks_regions() -> None:
    assert [target.id for target in TARGETS.values() if target.isa_platform is None] == ["himax_we1"]
    himax = get_target("himax_we1")
    assert himax.regions["SYSTEM0"] == 0xE9AF0 == 957_168
    assert himax.sram_bytes == sum(himax.regions[name] for name in ("SYSTEM0", "DCCM", "XCCM", "YCCM"))
    assert hash(himax)


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown target 'esp8266'. Known targets: esp32, .*esp32c3"):
        get_target("esp8266")
