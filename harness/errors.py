"""The errors a user can cause or mend, kept apart from bugs.

Every `HarnessError` is one line: what was expected, what came, and the command
that mends it. Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why something ended; records and reports carry the value."""

    USAGE = "usage"
    MODEL = "model"
    UNSUPPORTED = "unsupported"
    DATA = "data"
    MISSING = "missing"
    BUILD = "build"
    PORT = "port"
    SILENT = "silent"
    LINK = "link"
    IDENTITY = "identity"
    DEVICE = "device"
    OUTPUT = "output"


class HarnessError(Exception):
    """A fault whose remedy is known.

    Args:
        message: what was expected and what came, without a trailing full stop.
        remedy: the command or change that mends it; shown after the message.
        reason: the kind, for records and for callers that branch on it.
    """

    reason = Reason.USAGE

    def __init__(self, message: str, remedy: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if reason is not None:
            self.reason = reason

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UsageError(HarnessError):
    reason = Reason.USAGE


class ModelError(HarnessError):
    """The model file cannot be read or is not what a runtime takes."""

    reason = Reason.MODEL


class UnsupportedError(HarnessError):
    """An operator, type or option outside the supported list."""

    reason = Reason.UNSUPPORTED


class DataError(HarnessError):
    reason = Reason.DATA


class MissingError(HarnessError):
    """A program or Python package is not installed."""

    reason = Reason.MISSING


class BuildError(HarnessError):
    reason = Reason.BUILD


class PortError(HarnessError):
    """A serial port is busy, gone or not permitted."""

    reason = Reason.PORT


class SilentError(HarnessError):
    """The device did not answer in time; the message carries the log's tail."""

    reason = Reason.SILENT


class LinkError(HarnessError):
    """The device answers, but not as the protocol says."""

    reason = Reason.LINK


class IdentityError(HarnessError):
    """The device runs another model, artifact or firmware than was asked for."""

    reason = Reason.IDENTITY


class DeviceError(HarnessError):
    """The device reported a failure of its own."""

    reason = Reason.DEVICE


class OutputError(HarnessError):
    """A report or build directory cannot be written."""

    reason = Reason.OUTPUT
