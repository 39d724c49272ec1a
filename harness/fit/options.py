"""What `fit` and `limits` ask alike on the command line: the chip, and what its board has beside it."""

from __future__ import annotations

import argparse
from typing import Any

from harness.errors import UsageError
from harness.fit.verdict import Room
from harness.targets import Target, get_target
from harness.toolchains.esp_idf.partitions import parse_size

Parser = Any  # argparse's own type of a sub-parser is private


def add_room(parser: Parser) -> None:
    """--partition, --flash-size and --psram."""
    parser.add_argument(
        "--partition", default="1MB", metavar="SIZE", help="of the app (default: 1MB, as ESP-IDF's)"
    )
    parser.add_argument("--flash-size", default="4MB", metavar="SIZE", help="of the board (default: 4MB)")
    parser.add_argument("--psram", default="", metavar="SIZE", help="of the board (default: none)")


def room_of(parsed: argparse.Namespace) -> Room:
    """Raises UsageError for what is no size."""
    return Room(
        parse_size("--partition", parsed.partition),
        parse_size("--flash-size", parsed.flash_size),
        parse_size("--psram", parsed.psram) if parsed.psram else 0,
    )


def chip(name: str) -> Target:
    """A target whose memory is known; raises UsageError for another."""
    target = get_target(name)
    if not target.heap_regions:
        raise UsageError(f"{name} is only generated for", f"What fits it: harness generate --target {name}")
    return target
