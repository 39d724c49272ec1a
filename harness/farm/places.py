"""Places of labgrid that are ours: acquired, with their line and supply, released; and the queue for them.

Says where the line of a place is, and opens nothing there. Which place an item gets is `shelf`'s decision.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.boards.process import die_with_parent
from harness.errors import PortError
from harness.farm.labgrid import (
    CLIENT_TIMEOUT_S,
    Coordinator,
    Place,
    PlaceState,
    Resource,
    client_environment,
    our_name,
    words,
)
from harness.farm.leases import Holder, Lease
from harness.farm.power import OFF_S

ASK_AGAIN_S = 10.0
"""How long what a coordinator said of its places is taken to be so, while we wait for one."""

_PORT_TIMEOUT_S = 10.0
_POLL_S = 0.5
# What labgrid-client can switch, by the class of the resource.
_POWER = frozenset(
    (
        "NetworkPowerPort",
        "NetworkSiSPMPowerPort",
        "NetworkSysfsGPIO",
        "NetworkUSBPowerPort",
        "NetworkYKUSHPowerPort",
        "PDUDaemonPort",
        "TasmotaPowerPort",
    )
)
# Ends when the pipe to it is closed, by us or by the kernel; then it is the client that releases.
_GUARD = 'cat; exec "$@"'


@dataclass(frozen=True)
class PlacePower:
    """The supply of a place that is acquired, through whichever of labgrid's drivers fits it."""

    place: Place

    def cycle(self) -> None:
        self.place.coordinator.run("power", "cycle", "--delay", f"{OFF_S:g}", place=self.place.name)

    def __str__(self) -> str:
        return "labgrid-client power"


class HeldPlace:
    """A place that is ours until `release` or the end of this process, however it comes.

    A guard, a shell of its own session, waits for a pipe's end and then has the client release the place.
    Till then it keeps the host's lock: here nobody is given the board before it is free everywhere.
    """

    def __init__(self, place: Place, lease: Lease) -> None:
        """Acquires it.

        Raises:
            PortError: somebody was faster, no exporter offers what the place needs, or as `Coordinator.run`.
        """
        self.place = place
        self._resources: list[Resource] = []
        release = place.coordinator.command("release-from", our_name(), place=place.name)
        end, self._pipe = os.pipe()
        # Before the place is ours: whoever is killed from here on leaves nothing behind.
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", *release],
            env=client_environment(),
            stdin=end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lease.descriptor,),
            start_new_session=True,
        )
        os.close(end)
        _HELD.add(self)
        try:
            place.coordinator.run("acquire", place=place.name)
        except BaseException:
            self._dismiss()
            raise

    def serial_port(self) -> tuple[str, int | None]:
        """Where its line is, as rfc2217:// or socket://, and at how many baud if that is said.

        Raises:
            PortError: none, several, one behind an SSH proxy, or its exporter does not offer it in time.
        """
        give_up_s = time.monotonic() + _PORT_TIMEOUT_S
        while True:
            self._resources = self.place.resources()
            ports = [each for each in self._resources if each.kind == "NetworkSerialPort"]
            if len(ports) != 1:
                raise PortError(
                    f"expected one serial port in {self.place}, got {len(ports)}",
                    "Add a match that leaves one: labgrid-client add-match",
                )
            params = ports[0].params or {}
            if params.get("extra", {}).get("proxy_required"):
                raise PortError(
                    f"the serial port of {self.place} is only to be had through SSH",
                    "Start its labgrid-exporter without --isolated",
                )
            # A port behind ser2net is known only some moments after it was acquired.
            if params.get("host") and params.get("port"):
                break
            if time.monotonic() > give_up_s:
                raise PortError(f"exporter {ports[0].exporter} does not offer the port of {self.place}")
            time.sleep(_POLL_S)
        where = f"{params['host']}:{params['port']}"
        if params.get("protocol", "rfc2217") == "raw":
            return f"socket://{where}", params.get("speed")
        # Servers such as ser2net do not confirm every control line, and pyserial would wait for it.
        return f"rfc2217://{where}?ign_set_control", params.get("speed")

    def power(self) -> PlacePower | None:
        """None where `serial_port` saw nothing in the place that can be switched."""
        return PlacePower(self.place) if {each.kind for each in self._resources} & _POWER else None

    def lost_exporters(self) -> list[str]:
        """The exporters of this place that have left the coordinator. Raises as `Coordinator.run`."""
        return sorted({each.exporter for each in self.place.resources() if each.params is None})

    def release(self) -> None:
        """Returns when the place is free; safe to call twice. Raises PortError when it does not get free."""
        if self._pipe < 0:
            return
        self.close_pipe()
        try:
            code: int | str = self._guard.wait(CLIENT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._dismiss()
            code = "nothing"
        if code:
            raise PortError(
                f"{self.place} could not be released (labgrid-client ended with {code})",
                f"labgrid-client -x {self.place.coordinator.address} -p {self.place.name} release",
            )

    def close_pipe(self) -> None:
        """In our process: lets the guard release. In a forked child: leaves that to the parent's end."""
        pipe, self._pipe = self._pipe, -1
        _HELD.discard(self)
        with contextlib.suppress(OSError):
            os.close(pipe)

    def _dismiss(self) -> None:
        """Ends the guard without a release."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        self.close_pipe()


_HELD: weakref.WeakSet[HeldPlace] = weakref.WeakSet()


def _close_all() -> None:
    for held in list(_HELD):
        held.close_pipe()


# A forked child shares the pipe: the guard would wait for its end too.
os.register_at_fork(after_in_child=_close_all)


class Turn:
    """Our turn in the coordinator's queue for a place with these tags; a minute after us it lapses."""

    def __init__(self, coordinator: Coordinator, tags: tuple[str, ...]) -> None:
        """Asks for it, and waits for nothing. Raises MissingError."""
        self.coordinator = coordinator
        self._told = False
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in cancel()
        self._process = subprocess.Popen(
            coordinator.command("reserve", "--wait", "--shell", *tags),
            env=client_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )

    @property
    def token(self) -> str:
        """The name of the reservation; "" until the coordinator has answered."""
        said = os.pread(self._output.fileno(), 1000, 0).decode("utf-8", "replace")
        found = re.search(r"LG_TOKEN=(\w+)", said)
        return found[1] if found else ""

    def came(self) -> bool:
        """True once: at the first question after it was granted, or refused."""
        if self._told or self._process.poll() is None:
            return False
        self._told = True
        return True

    def cancel(self) -> None:
        """Gives the turn back. Of a coordinator that is gone there is nothing to give back to."""
        token = self.token
        self._process.kill()
        self._process.wait()
        self._output.close()
        if token:
            with contextlib.suppress(PortError):
                self.coordinator.run("cancel-reservation", token)


class PlaceQueue:
    """One wait for a board, as far as places go: who has them, and our turns in the coordinators' queues."""

    def __init__(self) -> None:
        self._states: dict[Coordinator, tuple[float, dict[str, PlaceState]]] = {}
        self._turns: list[Turn] = []

    def __enter__(self) -> PlaceQueue:
        return self

    def __exit__(self, *_: object) -> None:
        for turn in self._turns:
            turn.cancel()

    def holder(self, place: Place) -> Holder | None:
        """Who has the place or the next turn for it; None when we may acquire it.

        Raises:
            PortError: there is no such place, or as `Coordinator.run`.
        """
        state = place.among(self._known(place.coordinator))
        if state.reservation and state.reservation not in {turn.token for turn in self._turns}:
            turn_of = f"the next in labgrid's queue (reservation {state.reservation})"
            return place.holder(state) or Holder(
                turn_of, place.coordinator.address, 0, -1, 0.0, float("inf"), ""
            )
        return place.holder(state)

    def acquire(self, place: Place, lease: Lease) -> HeldPlace | Holder:
        """The place, or who was faster. Raises as `HeldPlace`."""
        try:
            return HeldPlace(place, lease)
        except PortError:
            self._states.pop(place.coordinator, None)
            if holder := self.holder(place):
                return holder
            raise

    def line_up(self, places: Sequence[Place], tags: Collection[str]) -> None:
        """Takes our turns, once: one for `tags` where they mean just these places, else one for each."""
        if self._turns:
            return
        for coordinator in {place.coordinator for place in places}:
            names = {place.name for place in places if place.coordinator == coordinator}
            states = self._known(coordinator)
            meant = {name for name, state in states.items() if set(tags) <= set(words(state.tags))}
            wishes = [tuple(tags)] if meant == names else [(f"name={name}",) for name in sorted(names)]
            self._turns += [Turn(coordinator, wish) for wish in wishes]

    def _known(self, coordinator: Coordinator) -> dict[str, PlaceState]:
        """Asking takes the client half a second of work: done seldom, and when it is our turn."""
        asked_s, states = self._states.get(coordinator, (-ASK_AGAIN_S, {}))
        if time.monotonic() - asked_s > ASK_AGAIN_S or any(turn.came() for turn in self._turns):
            states = coordinator.places()
            self._states[coordinator] = (time.monotonic(), states)
        return states
