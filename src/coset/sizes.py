"""Numbers of bytes as people write them: `64KB`, `2MB`, `1.5GiB`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from coset.errors import InputError, brief
from coset.settings import scalar

_DECIMAL = ("B", "KB", "MB", "GB", "TB")
_UNITS = {unit: 1000**power for power, unit in enumerate(_DECIMAL)} | {
    unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), start=1)
}
_BY_LOWER_CASE = {unit.lower(): size for unit, size in _UNITS.items()} | {"": 1}
_SIZE = re.compile(r"(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})\s*([A-Za-z]*)", re.ASCII)
_SHARE = re.compile(r"(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})\s*%", re.ASCII)
_LARGEST = 2**63 - 1


def parse_size(text: str | int | float) -> int:
    """The number of bytes that `text` says; a fraction of a byte is dropped, so that no budget is exceeded.

    KB = 1000 bytes, KiB = 1024 bytes, and so on up to TB and TiB; no unit means bytes; case does not matter.

    Example:
        >>> parse_size("64KB"), parse_size("1.5GiB"), parse_size("123")
        (64000, 1610612736, 123)
    """
    text = scalar(text)
    if isinstance(text, int) and text > _LARGEST:  # of which Python may refuse to write the digits
        raise InputError(f"size {brief(text)}: larger than {_LARGEST} bytes, the largest that a file can have")
    match = None if isinstance(text, bool) else _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise InputError(f"size {text!r}: expected a number of 0 or more and a unit, such as 64KB")
    number, unit = match.groups()
    if unit.lower() not in _BY_LOWER_CASE:
        raise InputError(f"size {text!r}: unknown unit {unit!r}; valid units are {', '.join(_UNITS)}")
    exact = Fraction(number) * _BY_LOWER_CASE[unit.lower()]
    size = int(exact)
    if 0 < exact < 1:
        raise InputError(f"size {text!r}: less than a byte; a share is written with a percent sign, such as 25%")
    if size > _LARGEST:
        raise InputError(f"size {text!r}: larger than {_LARGEST} bytes, the largest that a file can have")
    return size


def budget_bytes(budget: Any, full: int) -> int:
    """Bytes of a budget: `"240KB"`, or a share of the bytes `full`, `"25%"` or, as a number with a point, 0.25.

    Raises:
        InputError: neither a size nor a share.

    Example:
        >>> budget_bytes("1.5KB", 10_000), budget_bytes("25%", 10_000), budget_bytes(0.25, 10_000)
        (1500, 2500, 2500)
    """
    share: Fraction | None = None
    budget = scalar(budget)
    if isinstance(budget, str) and budget.strip().endswith("%"):
        if (match := _SHARE.fullmatch(budget.strip())) is None:
            raise InputError(f"budget {brief(budget)}: a share is a number and a percent sign, such as 25%")
        share = Fraction(match[1]) / 100
    elif isinstance(budget, float) and 0 < budget <= 1:
        share = Fraction(budget)
    return parse_size(budget) if share is None else int(full * share)


def format_size(size: int) -> str:
    """A number of bytes in three significant digits and the largest unit that keeps it at 1 or more.

    Example:
        >>> format_size(471_872), format_size(2_494_976), format_size(999_999), format_size(512)
        ('472KB', '2.49MB', '1MB', '512B')
    """
    if size < 0:
        raise ValueError(f"a size cannot be negative: {size}")
    for power, unit in enumerate(_DECIMAL):
        scale = 1000**power
        for digits in (2, 1, 0):  # of 1.23, 12.3 and 123
            steps = _nearest(size * 10**digits, scale)
            if steps < 1000:
                return f"{_decimal(steps, digits)}{unit}"
    return f"{_nearest(size, scale)}{unit}"


def _nearest(size: int, scale: int) -> int:
    return (2 * size + scale) // (2 * scale)


def _decimal(steps: int, digits: int) -> str:
    whole, part = divmod(steps, 10**digits)
    tail = f"{part:0{digits}d}".rstrip("0") if digits else ""
    return f"{whole}.{tail}" if tail else str(whole)
