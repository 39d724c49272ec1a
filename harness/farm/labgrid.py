"""What a labgrid coordinator says of its places, by way of `labgrid-client` as a child process.

labgrid is never imported: its fork of pyserial overwrites pyserial's files, and its pytest plugin clashes
with pytest-embedded. It lives in an environment of its own. Having a place is `places`' work.
"""

from __future__ import annotations

import ast
import getpass
import os
import re
import shutil
import socket
import subprocess
import textwrap
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.errors import MissingError, PortError
from harness.farm.leases import Holder

CLIENT_VARIABLE = "HARNESS_LABGRID_CLIENT"
COORDINATOR_VARIABLE = "LG_COORDINATOR"
DEFAULT_COORDINATOR = "127.0.0.1:20408"
INSTALL = (
    "pipx install labgrid; or: python3 -m venv ~/labgrid && ~/labgrid/bin/pip install labgrid && "
    f"export {CLIENT_VARIABLE}=~/labgrid/bin/labgrid-client"
)
CLIENT_TIMEOUT_S = 30.0
# Ours would lead the client into our environment, or to another place than the one asked for.
_NOT_HANDED_ON = (
    "PYTHONPATH",
    "PYTHONHOME",
    "LG_PLACE",
    "LG_ENV",
    "LG_STATE",
    "LG_INITIAL_STATE",
    "LG_TOKEN",
)


def find_client(configured: str = "") -> str:
    """$HARNESS_LABGRID_CLIENT, else `configured`, else labgrid-client on PATH. Raises MissingError."""
    named = os.environ.get(CLIENT_VARIABLE) or configured
    program = shutil.which(os.path.expanduser(named) or "labgrid-client")
    if program is None:
        raise MissingError(
            f"no program {named}: expected labgrid-client there"
            if named
            else "labgrid-client is not installed",
            f"Install it: {INSTALL}",
        )
    return program


def client_environment() -> dict[str, str]:
    """What the client is started with."""
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_HANDED_ON}
    return {**kept, "GRPC_ENABLE_FORK_SUPPORT": "0", "PYTHONUNBUFFERED": "1"}


def our_name() -> str:
    """HOST/USER, as the coordinator knows us."""
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    return f"{host}/{os.environ.get('LG_USERNAME') or getpass.getuser()}"


@dataclass(frozen=True)
class PlaceState:
    """What the coordinator says of a place: `acquired` HOST/USER or "", `changed` in seconds since 1970."""

    tags: dict[str, str]
    acquired: str
    changed: float
    reservation: str


@dataclass(frozen=True)
class Resource:
    """One thing an acquired place has; `params` as its exporter gives them, None when that one is gone."""

    name: str
    kind: str
    exporter: str
    params: dict[str, Any] | None


@dataclass(frozen=True)
class Coordinator:
    """A labgrid coordinator: HOST:PORT, and where its client was said to be ("": on PATH)."""

    address: str
    client: str = ""

    def command(self, *words: str, place: str = "") -> list[str]:
        """The command line. Raises MissingError."""
        return [find_client(self.client), "-x", self.address, *(["-p", place] if place else []), *words]

    def run(self, *words: str, place: str = "") -> str:
        """What the client prints.

        Raises:
            PortError: the coordinator does not answer, or refuses; with its own words.
            MissingError: the client is not installed.
        """
        command = self.command(*words, place=place)
        remedy = f"See: labgrid-client -x {self.address} places"
        try:
            done = subprocess.run(
                command,
                env=client_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=CLIENT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PortError(f"labgrid at {self.address} sent nothing for {CLIENT_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise MissingError(f"{command[0]} does not start: {error.strerror}", INSTALL) from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            if "Could not connect to coordinator" in said:
                raise PortError(
                    f"no labgrid coordinator answers at {self.address}",
                    "Start labgrid-coordinator there, or correct [labgrid] coordinator in farm.toml",
                )
            said = re.sub(r"^(labgrid-client: )?((Server )?[Ee]rror: )?", "", said)
            raise PortError(f"labgrid at {self.address}: {said[:300]}", remedy)
        return done.stdout

    def places(self) -> dict[str, PlaceState]:
        """Every place by name. Raises as `run`."""
        return dict(_states(self.run("-v", "places")))


@dataclass(frozen=True)
class Place:
    """A place by its exact name. The client itself would take any place that contains it."""

    coordinator: Coordinator
    name: str

    @property
    def key(self) -> str:
        return f"labgrid:{self.coordinator.address}/{self.name}"

    def __str__(self) -> str:
        return f"labgrid place {self.name} at {self.coordinator.address}"

    def state(self) -> PlaceState:
        """What the coordinator says of it. Raises PortError when it has no such place, or as its `run`."""
        return self.among(self.coordinator.places())

    def among(self, states: dict[str, PlaceState]) -> PlaceState:
        """Its own. Raises PortError when there is none."""
        if self.name not in states:
            there = ", ".join(sorted(states)) or "none"
            raise PortError(
                f"labgrid at {self.coordinator.address} has no place {self.name} (there: {there[:200]})",
                f"Make it: labgrid-client -x {self.coordinator.address} -p {self.name} create",
            )
        return states[self.name]

    def holder(self, state: PlaceState) -> Holder | None:
        """Who has acquired it, as a holder whose process is not known."""
        if not state.acquired:
            return None
        host, _, user = state.acquired.partition("/")
        return Holder(user, host, 0, -1, state.changed, float("inf"), "a labgrid place")

    def resources(self) -> list[Resource]:
        """What it has, once it is acquired. Raises as `Coordinator.run`."""
        return _resources(self.coordinator.run("show", place=self.name))

    def release(self, owner: str) -> None:
        """Takes it from `owner` (HOST/USER), whichever process has it there. Raises as `Coordinator.run`."""
        self.coordinator.run("release-from", owner, place=self.name)


def words(tags: dict[str, str]) -> list[str]:
    """A place's tags as `--tag` names them: KEY=VALUE, and KEY alone where the value is yes."""
    return [f"{key}={value}" for key, value in tags.items()] + [
        key for key, value in tags.items() if value == "yes"
    ]


def _states(text: str) -> list[tuple[str, PlaceState]]:
    """Of `labgrid-client -v places`."""
    found = []
    for name, told in re.findall(r"^Place '(.*)':\n((?:  .*\n)*)", text, re.MULTILINE):
        values = dict(re.findall(r"^  (\w+): (.*)$", told, re.MULTILINE))
        tags = dict(pair.split("=", 1) for pair in values.get("tags", "").split(", ") if "=" in pair)
        acquired = values.get("acquired", "None")
        changed = datetime.fromisoformat(values["changed"]).timestamp()
        state = PlaceState(
            tags, "" if acquired == "None" else acquired, changed, values.get("reservation", "")
        )
        found.append((name, state))
    return found


def _resources(text: str) -> list[Resource]:
    """Of `labgrid-client show` for a place that is acquired."""
    found = []
    heads = r"^(Acquired|Orphaned) resource '(.*)' \(([^/]*)/[^/]*/([^/]*)/.*\):?\n((?:  .*\n)*)"
    for how, name, exporter, kind, body in re.findall(heads, text + "\n", re.MULTILINE):
        params = None
        if how == "Acquired":
            params = ast.literal_eval(textwrap.dedent(body))["params"]
        found.append(Resource(name, kind, exporter, params))
    return found
