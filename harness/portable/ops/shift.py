"""A change of exponent as a C expression: a shift rounded to nearest, or a factor."""

from __future__ import annotations

MAX_SHIFT = 30
MAX_SHIFT_WIDE = 62


def shift_value(value: int, shift: int, *, half_even: bool) -> int:
    """`value` / 2^shift, rounded to nearest as `shifted` has it."""
    if shift <= 0:
        return value << -shift
    floor, rest, half = value >> shift, value & ((1 << shift) - 1), 1 << (shift - 1)
    return floor + (rest > half or (rest == half and (floor & 1 == 1 or not half_even)))


def shifted(value: str, shift: int | str, *, half_even: bool, wide: bool = False) -> str:
    """`value` / 2^shift with the functions of power_of_two.h; a negative number multiplies.

    `shift` may be a C expression, never negative. `wide`: the value has 64 bits.
    """
    if shift == 0:
        return value
    if isinstance(shift, int) and shift < 0:
        return f"{value} * {1 << -shift}"
    return f"{'shift_half_even' if half_even else 'shift_half_up'}{'_wide' if wide else ''}({value}, {shift})"
