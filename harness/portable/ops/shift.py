"""A change of exponent as a C expression: a shift rounded to nearest, or a factor."""

from __future__ import annotations

MAX_SHIFT = 30


def shifted(value: str, shift: int, *, half_even: bool) -> str:
    """`value` / 2^shift with the functions of power_of_two.h; a negative shift multiplies."""
    if shift == 0:
        return value
    if shift < 0:
        return f"{value} * {1 << -shift}"
    return f"{'shift_half_even' if half_even else 'shift_half_up'}({value}, {shift})"
