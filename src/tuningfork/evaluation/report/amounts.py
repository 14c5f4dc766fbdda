"""Numbers in words: scores, times, sizes and money as a report prints them."""

import math

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"
"""Stands where nothing was measured."""


def score(value: float | None, digits: int) -> str:
    """Return a score with `digits` decimals."""
    if value is None:
        return UNKNOWN
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    # A rounded zero loses its sign.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """Return a difference with its sign; what rounds to zero has none."""
    text = score(value, digits)
    return text if text.startswith(MINUS) or not _is_shown_as_positive(value, digits) else f"+{text}"


def _is_shown_as_positive(value: float, digits: int) -> bool:
    """Return whether `value` is still above zero when it is shown with `digits` decimals."""
    return value > 0 and (math.isinf(value) or round(value, digits) > 0)


def interval(low: float | None, high: float | None, digits: int, *, with_signs: bool = False) -> str:
    """Return an interval in brackets, or nothing where there is none."""
    if low is None or high is None:
        return ""
    show = signed if with_signs else score
    return f"[{show(low, digits)}, {show(high, digits)}]"


def duration(seconds: float | None) -> str:
    """Return a time in the unit that suits it."""
    if seconds is None:
        return UNKNOWN
    if seconds == 0:
        return "0 s"
    # Limits are those of the rounded figure: 59.96 s would else be "60.0 s".
    if seconds < 9.95e-3:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, short enough for a column."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def count(value: float | None) -> str:
    """Return a whole number with commas."""
    return UNKNOWN if value is None else f"{round(value):,}"


def rate(value: float | None) -> str:
    """Return a number of about three digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def size(num_bytes: float | None) -> str:
    """Return bytes in decimal units."""
    return UNKNOWN if num_bytes is None else with_unit(num_bytes, ("B", "kB", "MB", "GB", "TB", "PB"))


def energy(joules: float | None) -> str:
    """Return joules."""
    return UNKNOWN if joules is None else with_unit(joules, ("J", "kJ", "MJ", "GJ"))


def money(value: float | None, currency: str) -> str:
    """Return a price with two decimals, or two digits that count."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return f"0 {currency}".strip()
    digits = 2 if abs(value) >= 1 else 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{digits}f} {currency}".strip()


def percent(share: float) -> str:
    """Return a share as a whole percentage, which is 0 % or 100 % only where it is exactly that."""
    whole = round(100 * share)
    if whole == 0 and share > 0:
        return "<1 %"
    if whole == 100 and share < 1:
        return ">99 %"
    return f"{whole} %"


def with_unit(value: float, units: tuple[str, ...]) -> str:
    """Return `value` in that of `units`, each a thousand times the one before, which leaves few digits."""
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return f"{_three_digits(value)} {unit}".strip()
        value /= 1000
    return f"{_three_digits(value)} {units[-1]}".strip()


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or abs(value) >= 99.95 else f"{value:.3g}"
