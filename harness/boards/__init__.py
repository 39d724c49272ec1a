"""Boards: what runs an image and has a UART, and the choice among them."""

from harness.boards.choose import check_choice, check_targets, choose_board, is_attached
from harness.boards.detect import Attachment

__all__ = ["Attachment", "check_choice", "check_targets", "choose_board", "is_attached"]
