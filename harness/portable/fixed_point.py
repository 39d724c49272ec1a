"""The integer arithmetic of TFLite's quantised kernels, on Python integers.

The planner resolves every multiplier and table with it, so that the device needs
neither float nor division. The C twin of the part that runs on the device is
`firmware/runtimes/portable/fixed_point.h`.

Sources: gemmlowp `fixedpoint/fixedpoint.h`; TFLite `kernels/internal/quantization_util.cc`,
`kernels/internal/common.cc` (double rounding).
"""

from __future__ import annotations

import math

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
INT64_MAX = (1 << 63) - 1


def round_half_away(x: float) -> int:
    """C's `round`: to nearest, halves away from zero."""
    floor = math.floor(abs(x))
    magnitude = floor + (abs(x) - floor >= 0.5)
    return magnitude if x >= 0 else -magnitude


def quantise_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real ~ multiplier * 2^-31 * 2^shift; QuantizeMultiplier of TFLite.

    `real` is finite. A value below 2^-32 becomes (0, 0).
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def reduce_multiplier(multiplier: int) -> int:
    """Q0.31 to Q0.15, as MultiplyByQuantizedMultiplier does it for sums of 64 bits."""
    return (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF


def wrap32(x: int) -> int:
    """What is left of `x` in an int32_t."""
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def multiply_q31(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul."""
    return INT32_MAX if a == b == INT32_MIN else (a * b + (1 << 30)) >> 31


def divide_by_power_of_two(x: int, shift: int) -> int:
    """RoundingDivideByPOT: halves away from zero."""
    mask = (1 << shift) - 1
    return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0))


def requantise(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier with double rounding; shift > 0 multiplies."""
    left, right = max(shift, 0), max(-shift, 0)
    return divide_by_power_of_two(multiply_q31(wrap32(x << left), multiplier), right)


def saturating_shift_left(x: int, shift: int) -> int:
    """SaturatingRoundingMultiplyByPOT with a positive exponent."""
    threshold = (1 << (31 - shift)) - 1
    if x > threshold:
        return INT32_MAX
    return INT32_MIN if x < -threshold else x << shift


def exp_of_negative(a: int, integer_bits: int) -> int:
    """exp(x) in Q0.31 for x <= 0 in Q`integer_bits`.(31 - integer_bits); exp_on_negative_values."""
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_of_quarter(saturating_shift_left(remainder, integer_bits) if integer_bits else remainder)
    remainder -= a
    # exp(-2^k) in Q0.31 for k = -2 ... 4.
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for exponent, factor in zip(range(-2, 5), factors, strict=True):
        if integer_bits > exponent and remainder & (1 << (fractional_bits + exponent)):
            result = multiply_q31(result, factor)
    return INT32_MAX if a == 0 else result


def _exp_of_quarter(a: int) -> int:
    """exp(x) for x in [-1/4, 0), Q0.31: Taylor's series around -1/8."""
    x = a + (1 << 28)
    x2 = multiply_q31(x, x)
    x3 = multiply_q31(x2, x)
    x4_over_4 = divide_by_power_of_two(multiply_q31(x2, x2), 2)
    third = multiply_q31(x4_over_4 + x3, 715827883)
    tail = divide_by_power_of_two(third + x2, 1)
    return 1895147668 + multiply_q31(1895147668, x + tail)


def _newton_reciprocal(a: int) -> int:
    """2 / (1 + x) in Q2.29 for x in [0, 1) in Q0.31: three Newton-Raphson steps."""
    half_denominator = (a + INT32_MAX + 1) // 2
    x = 1515870810 + multiply_q31(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - multiply_q31(half_denominator, x)
        x += saturating_shift_left(multiply_q31(x, error), 2)
    return x


def logistic(a: int, integer_bits: int) -> int:
    """1 / (1 + exp(-x)) in Q0.31."""
    if a == 0:
        return 1 << 30
    positive = saturating_shift_left(_newton_reciprocal(exp_of_negative(-abs(a), integer_bits)), 1)
    return positive if a > 0 else INT32_MAX - positive


def tanh(a: int, integer_bits: int) -> int:
    """tanh(x) in Q0.31."""
    if a == 0:
        return 0
    decayed = exp_of_negative(-abs(a), integer_bits + 1)
    magnitude = saturating_shift_left(_newton_reciprocal(decayed) - (1 << 29), 2)
    return magnitude if a > 0 else -magnitude


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The largest input that does not leave Q`integer_bits`.x; CalculateInputRadius."""
    span = float(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)))
    return math.floor(math.ldexp(span, -left_shift))
