"""Sizes: what is read, what is refused, and that what is written reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coset.errors import LONGEST, InputError
from coset.sizes import budget_bytes, format_size, parse_size

SIZES = st.integers(0, 10**15)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("123", 123),
        ("0", 0),
        ("64KB", 64_000),
        ("2MB", 2_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1KiB", 1024),
        ("1TB", 10**12),
        ("1TiB", 2**40),
        ("470kb", 470_000),
        (" 24.4 KB ", 24_400),
        ("7B", 7),
        (".5MB", 500_000),
        ("5.KB", 5000),
        ("0.0015KB", 1),
        (4096, 4096),
        (9_007_199_254_740_993, 9_007_199_254_740_993),
        ("9007199254740993", 9_007_199_254_740_993),
    ],
)
def test_parse(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KB", "-1", "-2MB", "nan", "inf", "NaNMB", "1e6", "1,000", "1.2.3MB", "٣KB"])
def test_parse_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(InputError, match="expected a number of 0 or more"):
        parse_size(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, -0.5, True])
def test_parse_refuses_numbers_that_are_no_size(value: float) -> None:
    with pytest.raises(InputError):
        parse_size(value)


@pytest.mark.parametrize("unit", ["XB", "M", "KBB", "bits"])
def test_unknown_unit_names_the_valid_ones(unit: str) -> None:
    with pytest.raises(
        InputError, match=f"unknown unit '{unit}'; valid units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB"
    ):
        parse_size(f"3{unit}")


def test_parse_refuses_what_no_file_can_hold() -> None:
    with pytest.raises(InputError, match="larger than"):
        parse_size("9" * 30)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1KB"),
        (470_000, "470KB"),
        (471_872, "472KB"),
        (24_365, "24.4KB"),
        (2_494_976, "2.49MB"),
        (999_499, "999KB"),
        (999_500, "1MB"),
        (1_005_000, "1.01MB"),
        (10**15, "1000TB"),
        (135_050_308 * 16, "2.16GB"),
    ],
)
def test_format(size: int, text: str) -> None:
    assert format_size(size) == text


def test_format_refuses_negative() -> None:
    with pytest.raises(ValueError, match="-1"):
        format_size(-1)


@given(st.text())
def test_parse_gives_a_size_or_an_input_error(text: str) -> None:
    try:
        size, message = parse_size(text), ""
    except InputError as error:
        size, message = 0, str(error)
    assert size >= 0
    assert not message or repr(text) in message


@given(SIZES)
def test_bytes_read_back_exactly(size: int) -> None:
    assert parse_size(str(size)) == size == parse_size(f"{size}B")


@given(SIZES)
def test_written_sizes_read_back_within_half_a_percent(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= 0.005 * size


@given(SIZES)
def test_writing_is_stable(size: int) -> None:
    text = format_size(size)
    assert format_size(parse_size(text)) == text


@given(SIZES, SIZES)
def test_writing_keeps_the_order(a: int, b: int) -> None:
    if a <= b:
        assert parse_size(format_size(a)) <= parse_size(format_size(b))


@given(SIZES, st.sampled_from(["KB", "MB", "GB", "KiB", "MiB"]))
def test_units_multiply(size: int, unit: str) -> None:
    size %= 10**6
    assert parse_size(f"{size}{unit}") == size * parse_size(f"1{unit}")


@pytest.mark.parametrize(
    ("budget", "size"), [("25%", 2500), ("12.5 %", 1250), ("150%", 15_000), (0.25, 2500), (1.0, 10_000), (2e3, 2000)]
)
def test_shares_have_one_meaning_however_they_are_written(budget: float | str, size: int) -> None:
    assert budget_bytes(budget, 10_000) == size


@pytest.mark.parametrize(
    "budget", ["1e400%", "-5%", "%", "9" * 500 + "%", "0.5", pytest.param(10**5000, id="digits"), -0.5, float("nan")]
)
def test_budgets_that_are_none(budget: float | str) -> None:
    with pytest.raises(InputError) as caught:
        budget_bytes(budget, 10_000)
    assert len(str(caught.value)) <= LONGEST
