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


def test_every_target_has_a_platform_of_its_instruction_set() -> None:
    for target in TARGETS.values():
        assert target.isa_platform == f"qemu_{target.isa}"
        assert target.isa_platform in PLATFORMS


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown target 'esp8266'. Known targets: esp32, .*esp32c3"):
        get_target("esp8266")
