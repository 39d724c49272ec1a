"""Processes that contend for the same boards while holders are killed: never two holders, no board lost.

    python -m benchmarks.farm_leases [--processes 8] [--boards 16] [--leases 2000]

A witness beside the locks, in memory that all processes share, says who believes to hold a board. Exit
code 1: two held one board at a time, or a board could not be had at the end. Times are of this machine.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.farm.leases import Leases

_LONGEST_HOLD_S = 0.001


@dataclass(frozen=True)
class Contest:
    """`conflicts`: a board was taken while its holder lived. `lost`: boards nobody could have at the end."""

    leases: int
    refused: int
    killed: int
    killed_holding: int
    conflicts: int
    lost: int
    seconds: float


class _Witness:
    """Shared numbers: who holds each board, whether a process was killed, and what each has done."""

    def __init__(self, boards: int, processes: int) -> None:
        self._memory = mmap.mmap(-1, 8 * (boards + 4 * processes))
        self._boards = boards

    def read(self, index: int) -> int:
        (value,) = struct.unpack_from("<q", self._memory, 8 * index)
        return int(value)

    def write(self, index: int, value: int) -> None:
        struct.pack_into("<q", self._memory, 8 * index, value)

    def count(self, worker: int, what: int) -> int:
        """The place of a worker's count: 0 leases, 1 refused, 2 conflicts, 3 the pid that was killed last."""
        return self._boards + 4 * worker + what


def contest(
    directory: Path, processes: int, boards: int, leases_each: int, kill_every_s: float, seed: int = 1
) -> Contest:
    """Runs it. Every process takes `leases_each` leases; one that is killed is started again to go on."""
    witness = _Witness(boards, processes)
    rng = random.Random(seed)
    Leases(directory)
    started_s = time.monotonic()
    running = {
        _start(witness, worker, directory, boards, leases_each, 0): worker for worker in range(processes)
    }
    killed = killed_holding = 0
    while running:
        time.sleep(rng.expovariate(1 / kill_every_s))
        for ended in [child for child in running if os.waitpid(child, os.WNOHANG)[0]]:
            del running[ended]
        if not running:
            break
        victim = rng.choice(list(running))
        worker = running[victim]
        if witness.read(witness.count(worker, 0)) >= leases_each:
            continue
        # Known before it dies: its boards are free as soon as it is gone, not when we have heard of it.
        witness.write(witness.count(worker, 3), victim)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        del running[victim]
        killed += 1
        killed_holding += any(witness.read(board) == victim for board in range(boards))
        running[_start(witness, worker, directory, boards, leases_each, killed)] = worker
    seconds = time.monotonic() - started_s
    ours = Leases(directory)
    lost = sum(ours.take(f"usb:1-{board}", 60) is None for board in range(boards))
    counts = [
        sum(witness.read(witness.count(worker, what)) for worker in range(processes)) for what in range(3)
    ]
    return Contest(counts[0], counts[1], killed, killed_holding, counts[2], lost, seconds)


def _start(witness: _Witness, worker: int, directory: Path, boards: int, leases: int, life: int) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            _work(witness, worker, Leases(directory), boards, leases, random.Random(1000 * worker + life))
            code = 0
        finally:
            os._exit(code)
    return child


def _work(
    witness: _Witness, worker: int, shelf: Leases, boards: int, leases: int, rng: random.Random
) -> None:
    def add(what: int) -> None:
        place = witness.count(worker, what)
        witness.write(place, witness.read(place) + 1)

    own = os.getpid()
    while witness.read(witness.count(worker, 0)) < leases:
        board = rng.randrange(boards)
        lease = shelf.take(f"usb:1-{board}", 60)
        if lease is None:
            add(1)
            continue
        before = witness.read(board)
        if before and not _was_killed(witness, before, boards):
            add(2)
        witness.write(board, own)
        time.sleep(rng.random() * _LONGEST_HOLD_S)
        if witness.read(board) != own:
            add(2)
        witness.write(board, 0)
        lease.release()
        add(0)


def _was_killed(witness: _Witness, pid: int, boards: int) -> bool:
    """Of each worker only the last victim is known: an earlier one is known by being no more."""
    workers = (len(witness._memory) // 8 - boards) // 4
    if any(witness.read(witness.count(worker, 3)) == pid for worker in range(workers)):
        return True
    return not os.path.exists(f"/proc/{pid}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument("--boards", type=int, default=16, metavar="N", help="default: 16")
    parser.add_argument(
        "--leases", type=int, default=2000, metavar="N", help="of each process; default: 2000"
    )
    parser.add_argument("--kill-every", type=float, default=0.02, metavar="SECONDS", help="default: 0.02")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = contest(Path(directory), given.processes, given.boards, given.leases, given.kill_every)
    print(
        f"{given.processes} processes, {given.boards} boards, {os.cpu_count()} cores: "
        f"{found.leases} leases in {found.seconds:.1f} s, refused {found.refused} times"
    )
    print(f"killed {found.killed} processes, {found.killed_holding} of them with a board in hand")
    print(f"two holders at a time: {found.conflicts}; boards lost: {found.lost}")
    return int(found.conflicts > 0 or found.lost > 0)


if __name__ == "__main__":
    sys.exit(main())
