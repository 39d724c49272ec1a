"""Who reads the device's text along with the log and knows what a crash looks like."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Fed by the link; `harness.boards.console_watch` is the one for ESP chips."""

    def text(self, data: bytes) -> None:
        """Device text, in any pieces."""

    def alive(self) -> None:
        """A valid frame came."""

    def fault(self) -> tuple[str, str] | None:
        """What went wrong and what to do about it, once; asked after every read."""

    def look_again_s(self) -> float:
        """So soon `fault` may know more, even if nothing comes; infinite when only text can tell."""

    def hint(self) -> str:
        """What the text tells about a device that is silent; may be empty."""
