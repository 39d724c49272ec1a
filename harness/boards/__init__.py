"""Boards: what runs an image and has a UART, and the choice among them."""

from harness.boards.choose import check_choice, check_targets, choose_board

__all__ = ["check_choice", "check_targets", "choose_board"]
