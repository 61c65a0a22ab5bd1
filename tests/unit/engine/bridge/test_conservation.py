"""The books of two vaults."""

from dataclasses import replace

from engine.bridge.conservation import Books, fault_between, fault_of

GOOD = Books(
    balance=1_000, liquidity=900, deposited=300, released=150, refunded=50, unclaimed=0, fees=0
)


def test_books_that_are_covered_have_no_fault():
    assert fault_of(GOOD) == ""
    assert fault_of(replace(GOOD, balance=5_000)) == ""  # ETH that was sent by force


def test_books_one_wei_short_are_a_fault():
    assert "balance" in fault_of(replace(GOOD, balance=999))
    assert "balance" in fault_of(replace(GOOD, fees=1))
    assert "balance" in fault_of(replace(GOOD, unclaimed=1))


def test_books_with_more_out_than_in_are_a_fault():
    assert "out" in fault_of(replace(GOOD, released=1_151, refunded=50))


def test_between_released_and_refunded_may_not_pass_what_was_deposited():
    assert fault_between(250, GOOD) == ""
    assert "250" not in fault_between(250, GOOD)
    assert "251 released" in fault_between(251, GOOD)
