"""Boards: what runs an image and has a UART, and the choice among them."""

from harness.boards.choose import (
    Place,
    board_at,
    check_choice,
    check_targets,
    choose_board,
    choose_place,
    is_attached,
)
from harness.boards.detect import Attachment

__all__ = [
    "Attachment",
    "Place",
    "board_at",
    "check_choice",
    "check_targets",
    "choose_board",
    "choose_place",
    "is_attached",
]
