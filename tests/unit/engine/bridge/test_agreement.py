"""What several endpoints are believed of: laws that hold whatever one of them says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bridge import agreement
from engine.bridge.agreement import (
    Believed,
    Standing,
    Word,
    believed,
    halting_of,
    permitted,
    quorum_of,
    standing,
    trusted_alone,
)
from engine.bridge.attesting import DISAGREEMENT, NOT_FINAL, TROUBLE, Found
from engine.bridge.control import REFUND, RELEASE, Declined
from engine.bridge.messages import Fate
from tests.support.transfers import MESSAGE, RISE, SEPOLIA, message

SIGNER = b"\x0a" * 20
SET, OLD_SET = b"\x05" * 32, b"\x06" * 32
HASH, OTHER = b"\x0b" * 32, b"\x0c" * 32
TRUE = Word(
    chain_id=SEPOLIA,
    event=Found(MESSAGE, 10, HASH, 12),
    depositor=MESSAGE.depositor,
    amount=MESSAGE.amount,
)
HERE = Word(chain_id=RISE, time=MESSAGE.deadline, signers=(SIGNER,), signer_set=SET)
AWAY = Declined(TROUBLE, "Expected an answer")


def found(**changes: object) -> Word:
    return replace(TRUE, event=replace(TRUE.event, **changes))  # type: ignore[type-var]


BEHIND = found(message=None, block_hash=b"", final_number=9)
words = st.builds(
    lambda message, block_hash, final, amount, chain_id, refunded: replace(
        TRUE,
        chain_id=chain_id,
        event=Found(message, 10, block_hash, final),
        amount=amount,
        refunded=refunded,
    ),
    st.sampled_from([MESSAGE, message(2), None]),
    st.sampled_from([HASH, OTHER]),
    st.integers(8, 12),
    st.sampled_from([MESSAGE.amount, 0]),
    st.sampled_from([SEPOLIA, RISE]),
    st.booleans(),
)
answers = st.one_of(words, st.just(AWAY), st.just(TRUE))


def heard(*said: Word | Declined, quorum: int = 2) -> Believed | Declined:
    return believed(said, quorum, chain_id=SEPOLIA)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([TRUE], TROUBLE),
        ([TRUE, AWAY], TROUBLE),
        ([AWAY, AWAY], TROUBLE),
        ([TRUE, BEHIND], NOT_FINAL),
        ([BEHIND, BEHIND], NOT_FINAL),
        ([TRUE, replace(TRUE, chain_id=1)], DISAGREEMENT),
        ([TRUE, found(block_hash=OTHER)], DISAGREEMENT),
        ([TRUE, found(message=None)], DISAGREEMENT),
        ([TRUE, found(message=message(2))], DISAGREEMENT),
        ([TRUE, replace(TRUE, amount=0)], DISAGREEMENT),
        ([TRUE, TRUE, found(message=None)], DISAGREEMENT),
    ],
)
def test_fewer_than_the_quorum_or_any_that_differ_are_not_believed(
    said: list[Word | Declined], code: str
) -> None:
    answer = heard(*said)
    assert isinstance(answer, Declined) and answer.code == code


@pytest.mark.parametrize("said", [[TRUE, TRUE], [AWAY, TRUE, TRUE], [TRUE, BEHIND, TRUE]])
def test_as_many_as_the_quorum_that_say_the_same_are_believed(said: list[Word | Declined]) -> None:
    assert heard(*said) == Believed(TRUE, 2)


def test_one_that_says_it_was_refunded_is_believed() -> None:
    answer = heard(TRUE, replace(TRUE, refunded=True))
    assert isinstance(answer, Believed) and answer.word.refunded


@given(lie=answers, honest=st.lists(st.sampled_from([AWAY, BEHIND]), max_size=3), at=st.integers())
def test_nobody_is_believed_alone(lie: Word | Declined, honest: list[Word | Declined], at: int):
    said = list(honest)
    said.insert(at % (len(said) + 1), lie)
    assert isinstance(heard(*said), Declined)


@given(lie=answers, honest=st.integers(1, 3), at=st.integers())
def test_what_is_believed_is_what_an_honest_one_says(lie: Word | Declined, honest: int, at: int):
    said: list[Word | Declined] = [TRUE] * honest
    said.insert(at % (honest + 1), lie)
    answer = heard(*said)
    if isinstance(answer, Believed):
        assert replace(answer.word, refunded=False, event=TRUE.event) == TRUE
        assert answer.word.event is not None and answer.word.event.block_hash == HASH
    else:
        assert honest == 1 or answer.code == DISAGREEMENT


@given(said=st.lists(answers, min_size=1, max_size=5), quorum=st.integers(1, 4))
def test_believed_are_at_least_the_quorum_and_nobody_who_answered_differs(
    said: list[Word | Declined], quorum: int
):
    answer = heard(*said, quorum=quorum)
    if isinstance(answer, Declined):
        return
    known = [one for one in said if isinstance(one, Word) and agreement._is_known(one)]
    assert len(known) == answer.voices >= quorum
    assert {agreement._told(one) for one in known} == {agreement._told(answer.word)}


def allowed(*here: Word | Declined, kind: str = RELEASE, there: Word = TRUE) -> bytes | Declined:
    return permitted(kind, MESSAGE, SIGNER, there=there, here=here, quorum=2)


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ([HERE, HERE], SET),
        ([HERE, AWAY, HERE], SET),
        ([HERE, AWAY], TROUBLE),
        ([HERE, replace(HERE, signer_set=OLD_SET)], TROUBLE),
        ([HERE, replace(HERE, fate=Fate.RELEASED)], "fate"),
        ([HERE, replace(HERE, signers=())], "not_a_signer"),
        ([HERE, HERE, replace(HERE, fate=Fate.RELEASED)], SET),
        ([HERE, HERE, replace(HERE, chain_id=1)], DISAGREEMENT),
    ],
)
def test_other_chain_must_permit_it_by_the_word_of_as_many(
    here: list[Word | Declined], expected: str | bytes
) -> None:
    answer = allowed(*here)
    assert (answer.code if isinstance(answer, Declined) else answer) == expected


def test_refund_rests_on_the_cancelled_fate_and_on_the_sources_record() -> None:
    there = Word(chain_id=RISE, event=Found(MESSAGE, 10, HASH, 12), fate=Fate.CANCELLED)
    source = replace(TRUE, event=None, signers=(SIGNER,), signer_set=SET)
    assert allowed(source, source, kind=REFUND, there=there) == SET
    for changed, code in (
        (replace(source, refunded=True), "fate"),
        (replace(source, amount=1), "mismatch"),
    ):
        answer = allowed(source, changed, kind=REFUND, there=there)
        assert isinstance(answer, Declined) and answer.code == code
    uncancelled = allowed(source, source, kind=REFUND, there=replace(there, fate=Fate.NONE))
    assert isinstance(uncancelled, Declined) and uncancelled.code == "fate"


@given(
    said=st.lists(st.sampled_from([HASH, OTHER, b"\x0d" * 32, None]), min_size=2, max_size=5),
    quorum=st.integers(0, 5),
)
def test_one_endpoint_of_several_halts_nobody_and_is_not_ignored(
    said: list[bytes | None], quorum: int
):
    gone = sum(one not in (None, HASH) for one in said)
    found_ = standing(HASH, said, halting_of(quorum_of(quorum, len(said)), len(said)))
    if gone <= 1:
        assert found_ is (Standing.DOUBTED if gone else Standing.STANDS)
    assert (found_ is Standing.STANDS) == (gone == 0)


def test_only_endpoint_there_is_halts() -> None:
    assert standing(HASH, [OTHER], halting_of(quorum_of(0, 1), 1)) is Standing.GONE


def test_trusted_alone_counts_who_would_sign_on_one_word() -> None:
    assert trusted_alone([["a"], ["a"], ["b"]], 0) == {"a": 2, "b": 1}
    assert trusted_alone([["a", "b"], ["a", "b"], ["a"]], 0) == {"a": 1}
    assert trusted_alone([["a", "b"], ["a", "c"]], 1) == {"a": 2, "b": 1, "c": 1}
    assert trusted_alone([["a", "b"], ["a", "c"]], 2) == {}
