"""`harness farm export`: the shelf of farm.toml as the configuration of a labgrid exporter."""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path
from typing import Any

from harness.errors import OutputError, UsageError
from harness.farm.exporter import SERVERS, exporter_configuration
from harness.farm.file import FILE_NAME, VARIABLE, find_farm

Parsers = Any  # argparse's own type of `add_subparsers` is private


def add_command(commands: Parsers) -> None:
    """Adds `farm` to the command line."""
    parser = commands.add_parser(
        "farm",
        help="write a labgrid exporter's configuration for the boards of farm.toml",
        description="Writes what labgrid-exporter needs to offer the attached boards of farm.toml to other "
        "hosts, with the commands that make their places as comments at its top. Opens no port.",
        epilog="harness farm export --out exporter.yaml; harness farm export --server esptool "
        "(lines that other hosts can flash through)",
    )
    parser.add_argument("action", choices=("export",), help="write the exporter's configuration")
    parser.add_argument(
        "--farm", default="", metavar="FILE", help=f"default: ${VARIABLE}, else {FILE_NAME} where you are"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--server",
        choices=SERVERS,
        default=SERVERS[0],
        help="what serves the boards' lines: ser2net, started by the exporter (default), or esptool's "
        "esp_rfc2217_server, started by you, which resets a chip into its loader in time for flashing",
    )
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    farm = find_farm(parsed.farm, Path.cwd())
    if farm.path is None:
        raise UsageError("no farm.toml here to export", "See docs/farm.md, or name one: --farm FILE")
    text = exporter_configuration(farm, parsed.server)
    if parsed.out is None:
        print(text, end="")
        return 0
    temporary = parsed.out.with_name(f".{parsed.out.name}.{secrets.token_hex(4)}")
    try:
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, parsed.out)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"expected to write {parsed.out}; {error.strerror}", "Check the path") from error
    print(f"{parsed.out} is written; what to run with it stands at its top")
    return 0
