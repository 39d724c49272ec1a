"""The partition table of a generated project: one app, and a partition for the model behind it.

Knows offsets and sizes; the CSV is what ESP-IDF's gen_esp32part.py reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError

MODEL_PARTITION = "model"
APP_OFFSET = 0x10000
APP_ALIGNMENT = 0x10000
SECTOR = 0x1000
# What the firmware takes without a model, generously: no build has said so yet.
APP_BYTES = 1536 << 10
UNITS = {"": 1, "K": 1 << 10, "KB": 1 << 10, "M": 1 << 20, "MB": 1 << 20}
FLASH_SIZES_MB = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Layout:
    """The user's choices: flash size of the board, size of the app partition (0: what is needed),
    and whether the model is linked into the app. `usb_serial`: bytes go by the chip's own USB, not its UART.
    `sdkconfig`: lines of the user's own, which overrule ours.
    """

    flash_bytes: int = 4 << 20
    app_bytes: int = 0
    model_in_app: bool = False
    usb_serial: bool = False
    sdkconfig: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """One row; offsets and sizes in bytes."""

    name: str
    kind: str
    subtype: str
    offset: int
    size: int


def plan(layout: Layout, image_bytes: int, name: str) -> tuple[Partition, ...]:
    """The table for the model `name`, whose image has `image_bytes` (0: it has none).

    The model's partition takes all that the app leaves, so that one firmware fits every model.

    Raises:
        UsageError: app and model do not fit the flash; says what would.
    """
    inside = image_bytes if layout.model_in_app else 0
    app_bytes = layout.app_bytes or _aligned(APP_BYTES + inside, APP_ALIGNMENT)
    if app_bytes % SECTOR:
        raise UsageError(f"--app-size {app_bytes} is no multiple of {SECTOR}", "e.g. --app-size 1536K")
    left = layout.flash_bytes - APP_OFFSET - app_bytes
    behind = 0 if layout.model_in_app else image_bytes
    if left < behind or left < 0:
        needed = APP_OFFSET + app_bytes + _aligned(behind, SECTOR)
        raise UsageError(
            f"{name}: an app of {kib(app_bytes)} and a model of {kib(behind)} need {kib(needed)} of flash, "
            f"the board is said to have {kib(layout.flash_bytes)}",
            _larger(needed),
        )
    rows = [Partition("factory", "app", "factory", APP_OFFSET, app_bytes)]
    if behind:
        rows.append(Partition(MODEL_PARTITION, "data", "undefined", APP_OFFSET + app_bytes, left))
    return tuple(rows)


def to_csv(partitions: tuple[Partition, ...]) -> str:
    """The table as ESP-IDF reads it."""
    rows = [f"{p.name}, {p.kind}, {p.subtype}, {p.offset:#x}, {p.size:#x}" for p in partitions]
    return "\n".join(["# Name, Type, SubType, Offset, Size", *rows, ""])


def layout_from(flash_size: str, app_size: str, model_in: str, sdkconfig: tuple[str, ...] = ()) -> Layout:
    """From the texts of --flash-size, --app-size (may be empty) and --model-in, and --sdkconfig's lines."""
    return Layout(
        flash_bytes=parse_size("--flash-size", flash_size),
        app_bytes=parse_size("--app-size", app_size) if app_size else 0,
        model_in_app=model_in == "app",
        sdkconfig=sdkconfig,
    )


def parse_size(flag: str, text: str) -> int:
    """`1536K`, `4MB` or a number of bytes. Raises UsageError for anything else."""
    digits = text.rstrip("KMB")
    if not digits.isdecimal() or text[len(digits) :] not in UNITS or int(digits) == 0:
        raise UsageError(f"{flag} expects a size such as 1536K or 4MB, got '{text}'")
    return int(digits) * UNITS[text[len(digits) :]]


def flash_megabytes(layout: Layout) -> int:
    """The flash size as ESP-IDF names it. Raises UsageError for one it has no name for."""
    megabytes, rest = divmod(layout.flash_bytes, 1 << 20)
    if rest or megabytes not in FLASH_SIZES_MB:
        sizes = ", ".join(f"{size}MB" for size in FLASH_SIZES_MB)
        raise UsageError(f"--flash-size is {kib(layout.flash_bytes)}, expected one of {sizes}")
    return megabytes


def kib(size: int) -> str:
    """Bytes as a reader takes them in."""
    return f"{-(-size // 1024)} KiB"


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _larger(needed: int) -> str:
    for megabytes in FLASH_SIZES_MB:
        if needed <= megabytes << 20:
            return f"With a board that has it: --flash-size {megabytes}MB"
    return "No ESP board has that much: a smaller model, please"
