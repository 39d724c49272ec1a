"""The errors a user can cause or mend, kept apart from bugs.

Every `HarnessError` is one line: what was expected, what came, and the command
that mends it. Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class HarnessError(Exception):
    """A fault whose remedy is known.

    Args:
        message: what was expected and what came, without a trailing full stop.
        remedy: the command or change that mends it; shown after the message.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean esp32c3? ` where one of `known` is near `name`, whatever its case; else ""."""
    lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"Did you mean {lower[near[0]]}? " if near else ""


def first_line(error: BaseException) -> str:
    """What a library's error says, for a line of ours; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UsageError(HarnessError):
    """Wrong options, names that mean nothing, choices that do not go together."""


class ModelError(HarnessError):
    """The model file cannot be read or is not what a runtime takes."""


class UnsupportedError(HarnessError):
    """An operator, type or option outside the supported list."""


class DataError(HarnessError):
    """Input data that cannot be meant: wrong type or shape, NaN, a pickle, a damaged file."""


class MissingError(HarnessError):
    """A program or Python package is not installed."""


class BuildError(HarnessError):
    """A source does not compile or an image does not link; carries the first error lines."""


class PortError(HarnessError):
    """A serial port is busy, gone or not permitted."""


class LeaseError(HarnessError):
    """A board is held by somebody else, or was held too long."""


class FlashError(HarnessError):
    """A chip's flash could not be written, or holds something else than was written."""


class SilentError(HarnessError):
    """The device did not answer in time; the message carries the log's tail."""


class LinkError(HarnessError):
    """The device answers, but not as the protocol says."""


class IdentityError(HarnessError):
    """The device runs another model, artifact or firmware than was asked for."""


class DeviceError(HarnessError):
    """The device reported a failure of its own."""


class OutputError(HarnessError):
    """A report or build directory cannot be written."""
