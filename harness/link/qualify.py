"""How good a line is: throughput, loss and the highest clean baud rate, by echoes of random bytes.

The device computes nothing meanwhile, so what is measured is the wire with both its ends. What a
figure is worth on an emulator is for the caller to say.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError, LinkError, PortError, SilentError, UnsupportedError
from harness.link.client import Link

RATES = (115_200, 230_400, 460_800, 921_600, 1_500_000, 2_000_000, 3_000_000)
# Short frames: on a bad line a long one never gets through, and there is no rate to tell.
PAYLOAD_BYTES = 64
_BATCH = 256


@dataclass(frozen=True)
class Quality:
    """What `seconds` of echoes did. Bytes go both ways; payload is counted one way."""

    seconds: float
    echoes: int
    wire_bytes: int
    lost: int
    damaged_here: int
    damaged_there: int

    @property
    def clean(self) -> bool:
        return not (self.lost or self.damaged_here or self.damaged_there)

    @property
    def payload_per_s(self) -> float:
        """Bytes a second, each way."""
        return self.echoes * PAYLOAD_BYTES / self.seconds

    @property
    def faults_per_byte(self) -> float:
        """Estimated from the round trips lost; of a clean line the bound that holds with 95 %: 3 / bytes."""
        if not self.lost:
            return 3 / self.wire_bytes
        trips = self.echoes + self.lost
        return -math.log(1 - self.lost / trips) / (self.wire_bytes / trips)


@dataclass(frozen=True)
class Rate:
    """One baud rate: its quality, or why there is none."""

    baud: int
    quality: Quality | None
    refusal: str = ""


def measure(link: Link, seconds: float, seed: int = 0) -> Quality:
    """Echoes for about so long, as many at a time as the window takes.

    Raises:
        LinkError: a line that loses the same frame over and over, or bytes come back changed.
        SilentError, PortError: nothing comes back at all.
    """
    rng = random.Random(seed)
    before = _counts(link)
    started_s = time.monotonic()
    echoes, elapsed_s = 0, 0.0
    while elapsed_s < seconds:
        sent = [rng.randbytes(PAYLOAD_BYTES) for _ in range(_BATCH)]
        if link.echoes(sent) != sent:
            raise LinkError("the device echoed other bytes than were sent, under a valid CRC")
        echoes += len(sent)
        elapsed_s = time.monotonic() - started_s
    wire, lost, here, there = (now - then for now, then in zip(_counts(link), before, strict=True))
    return Quality(elapsed_s, echoes, wire, lost, here, there)


def _counts(link: Link) -> tuple[int, int, int, int]:
    seen = link.statistics
    return seen.bytes_sent + seen.bytes_received, seen.retries, seen.crc_errors, seen.device_bad_frames


def sweep(
    link: Link, baud: int, seconds: float, recover: Callable[[], Link], rates: Sequence[int] = RATES
) -> Iterator[Rate]:
    """Quality at `baud`, the rate in force, then at the other rates; ends at `baud` again.

    A device that cannot change its rate is measured at the one it has.

    Args:
        recover: restarts a board that is lost at some rate and finds it again at `baud`.

    Raises:
        PortError, SilentError, LinkError: it is not found again.
    """
    quality, refusal = _attempt(link, seconds)
    yield Rate(baud, quality, refusal)
    if quality is None:
        link = recover()
    for rate in rates:
        if rate == baud:
            continue
        try:
            link.set_baud(rate)
        except UnsupportedError:
            return
        except (LinkError, PortError) as error:
            yield Rate(rate, None, error.message)
            continue
        except SilentError as error:
            yield Rate(rate, None, error.message)
            link = recover()
            continue
        quality, refusal = _attempt(link, seconds)
        yield Rate(rate, quality, refusal)
        if quality is None:
            link = recover()
    try:
        link.set_baud(baud)
    except (LinkError, SilentError):
        recover()


def _attempt(link: Link, seconds: float) -> tuple[Quality | None, str]:
    try:
        return measure(link, seconds), ""
    except HarnessError as error:
        return None, error.message


def highest_clean(rates: Sequence[Rate]) -> int | None:
    """None when no rate was clean."""
    return max((rate.baud for rate in rates if rate.quality and rate.quality.clean), default=None)
