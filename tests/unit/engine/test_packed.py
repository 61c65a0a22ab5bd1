"""What crosses between processes comes out as it went in."""

import pickle
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from engine.control import QuoteReplies, Quotes
from engine.messages import AsOf, QuoteReply, QuoteRequest, Refusal

ADDRESSES = st.binary(min_size=20, max_size=20)
NUMBERS = st.integers(0, 2**112)
REQUESTS = st.builds(
    QuoteRequest,
    token=ADDRESSES,
    is_buy=st.booleans(),
    exact_out=st.booleans(),
    amount=NUMBERS,
    slippage_bps=st.integers(0, 5_000),
    for_block=st.none() | NUMBERS,
    sealed=st.booleans(),
)
AS_OF = st.builds(
    AsOf,
    block_number=NUMBERS,
    block_hash=st.none() | st.binary(min_size=32, max_size=32),
    log_index=st.integers(-1, 10**6),
    status=st.sampled_from(["preconfirmed", "sealed", "finalised"]),
    version=st.tuples(NUMBERS, NUMBERS),
)
REPLIES = st.builds(QuoteReply, as_of=AS_OF)
REFUSALS = st.builds(Refusal)


@given(st.lists(REQUESTS))
def test_quotes_come_out_as_they_went_in(requests: list[QuoteRequest]) -> None:
    sent = Quotes(tuple(requests))
    assert pickle.loads(pickle.dumps(sent)) == sent


@given(st.lists(REPLIES | REFUSALS))
def test_replies_come_out_as_they_went_in(replies: list[QuoteReply | Refusal]) -> None:
    sent = QuoteReplies(tuple(replies))
    found = pickle.loads(pickle.dumps(sent))
    assert found == sent
    assert [type(one) for one in found.replies] == [type(one) for one in replies]


def test_refusal_and_reply_differ_in_length() -> None:
    assert len(fields(Refusal)) != len(fields(QuoteReply))


def test_packed_replies_name_no_class_but_their_own() -> None:
    # A class inside costs a call back into Python for each object of it.
    reply = Refusal("zero_output", "text", 3, 4)
    data = pickle.dumps(QuoteReplies((reply, reply)))
    assert b"Refusal" not in data
