"""Amounts and slippage: exact, bounded, and strict about what a decimal is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves.curve import AMOUNT_MAX
from engine.errors import CallerError
from engine.text import units
from gateway.units import Number, parse_amount, parse_slippage


def code_of(text: str) -> str:
    with pytest.raises(CallerError) as caught:
        parse_amount(text)
    assert len(caught.value.message) < 200
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 10**18),
        ("0.5", 5 * 10**17),
        ("0.000000000000000001", 1),
        ("007", 7 * 10**18),
        ("1.000000000000000000", 10**18),
        ("0" * 500 + "1", 10**18),
        (units(AMOUNT_MAX), AMOUNT_MAX),
    ],
)
def test_amount_plain_decimal_is_exact(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0",
        "-1",
        "+1",
        "1e3",
        "1E3",
        "0x1",
        " 1",
        "1 ",
        "1\n",
        "1,5",
        "1_0",
        ".5",
        "5.",
        "1.2.3",
        "NaN",
        "inf",
        "one",
        "٣",
        "\uff11",
        "1.0000000000000000001",
        "1\0",
        "½",
        "1.-5",
    ],
)
def test_amount_anything_else_is_invalid(text: str) -> None:
    assert code_of(text) == "invalid_amount"


@pytest.mark.parametrize("digits", [17, 78, 5_000, 1_000_000])
def test_amount_too_many_digits_is_refused_without_reading_them(digits: int) -> None:
    assert code_of("9" * digits) == "amount_too_large"


def test_amount_bound_is_exact() -> None:
    assert code_of(units(AMOUNT_MAX + 1)) == "amount_too_large"


@given(st.integers(1, AMOUNT_MAX))
def test_amount_of_its_own_text_is_itself(amount: int) -> None:
    assert parse_amount(units(amount)) == amount


@given(st.text())
def test_amount_any_text_is_an_integer_or_a_known_code(text: str) -> None:
    try:
        assert 0 < parse_amount(text) <= AMOUNT_MAX
    except CallerError as error:
        assert error.code in ("invalid_amount", "amount_too_large")


@pytest.mark.parametrize(
    ("value", "bps"),
    [
        ("1", 100),
        ("0", 0),
        ("50", 5_000),
        ("0.5", 50),
        ("0.05", 5),
        ("49.99", 4_999),
        (1, 100),
        (0, 0),
        (50, 5_000),
        (Number("0.5"), 50),
        (Number("2.25"), 225),
    ],
)
def test_slippage_percent_is_basis_points(value: object, bps: int) -> None:
    assert parse_slippage(value) == bps


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "51",
        "50.01",
        "1.001",
        "1e1",
        " 1",
        "٣",
        -1,
        51,
        10**100,
        True,
        False,
        None,
        Number("1e1"),
        Number("-0.5"),
        Number("0.001"),
        Number("1" * 5_000),
        0.5,
        [],
        {},
    ],
)
def test_slippage_anything_else_is_invalid(value: object) -> None:
    with pytest.raises(CallerError) as caught:
        parse_slippage(value)
    assert caught.value.code == "invalid_slippage"
    assert len(caught.value.message) < 200
