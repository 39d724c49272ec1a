from harness.boards.choose import choose_board

__all__ = ["choose_board"]
