"""The words for a request that a device refused: its own, or those that go with request and status."""

from __future__ import annotations

import pytest

from harness.errors import DeviceError, LinkError
from harness.link.codec import REPLY, Kind, Status, expect_ok
from harness.link.frames import Frame


def refused(kind: Kind, status: int, payload: bytes = b"") -> Frame:
    return Frame(kind | REPLY, 0, payload, status)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (refused(Kind.READ, Status.STALE), "STALE the result of that inference is not held"),
        (refused(Kind.INPUT, Status.STALE), "STALE the input of an older inference"),
        (refused(Kind.READ, Status.TOO_LARGE), "TOO_LARGE more bytes than max_payload - 8"),
        (refused(Kind.INFER, Status.TOO_LARGE), "TOO_LARGE the answer does not fit max_payload"),
        (refused(Kind.HELLO, Status.MALFORMED), "MALFORMED too few bytes, or too many"),
        (refused(Kind.HELLO, Status.VERSION, b"\2\3"), "VERSION it speaks versions 2 to 3"),
        (refused(Kind.INFER, Status.INPUT_DIGEST, bytes(8)), f"INPUT_DIGEST it holds .* {'00' * 8}"),
        (refused(Kind.SET_BAUD, Status.RANGE, b"only 9600"), "RANGE only 9600"),
        (refused(Kind.ECHO, Status.STALE), "STALE$"),
        (refused(Kind.ECHO, 77), "status 77$"),
    ],
)
def test_a_refusal_says_why(frame: Frame, said: str) -> None:
    with pytest.raises(LinkError, match=rf"^the device refused it: {said}"):
        expect_ok(frame, "it")


def test_an_engine_speaks_for_itself() -> None:
    with pytest.raises(DeviceError, match=r"^the device's engine failed at it: no arena"):
        expect_ok(refused(Kind.INFER, Status.ENGINE, b"no arena"), "it")


def test_every_reason_of_this_firmware_has_words() -> None:
    """firmware/core sends these, without a text."""
    sent = {
        Kind.HELLO: (Status.MALFORMED,),
        Kind.DESCRIBE: (Status.MALFORMED, Status.RANGE),
        Kind.INPUT: (Status.MALFORMED, Status.STALE, Status.RANGE),
        Kind.INFER: (Status.MALFORMED, Status.RANGE, Status.UNSUPPORTED, Status.TOO_LARGE),
        Kind.READ: (Status.MALFORMED, Status.STALE, Status.TOO_LARGE, Status.RANGE),
        Kind.SET_BAUD: (Status.MALFORMED, Status.UNSUPPORTED, Status.RANGE),
    }
    for kind, statuses in sent.items():
        for status in (Status.UNKNOWN, *statuses):
            with pytest.raises(LinkError, match=f"{status.name} .+"):
                expect_ok(refused(kind, status), kind.name)
