"""Refresh tokens: one form, one successor, and nobody makes one up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway import refresh

SID, FAMILY = "ab" * 16, b"\x07" * 32


def test_successor_follows_from_its_predecessor_alone() -> None:
    first = refresh.first(SID, FAMILY)
    second = refresh.successor(first, FAMILY)
    assert second == refresh.successor(first, FAMILY) and second.generation == 1
    assert second.hash != first.hash and first != refresh.first(SID, FAMILY)
    assert refresh.successor(first, b"\x08" * 32).body != second.body


def test_token_reads_back_and_is_of_its_session_only() -> None:
    token = refresh.first(SID, FAMILY)
    assert refresh.read(token.text) == token and token.is_of(FAMILY)
    assert not token.is_of(b"\x08" * 32) and not token.is_of(b"")


@given(st.integers(0, 110), st.characters())
def test_token_with_one_other_character_is_none_of_ours(place: int, letter: str) -> None:
    text = refresh.first(SID, FAMILY).text
    place %= len(text)
    if text[place] == letter:
        return
    read = refresh.read(text[:place] + letter + text[place + 1 :])
    assert read is None or not read.is_of(FAMILY)


@given(st.text(max_size=300))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    assert refresh.read(text) is None
