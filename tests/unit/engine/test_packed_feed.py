"""What the listener sends comes out as it went in, whatever the events."""

import pickle
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import Feed
from engine.messages import (
    Block,
    ChainEvent,
    FeedBatch,
    FeedMessage,
    Finalised,
    MarketEvent,
    Preconfirmed,
    Reorg,
)

EVENTS = st.one_of(*(st.builds(kind) for kind in get_args(ChainEvent)))
OF_MARKETS = st.one_of(*(st.builds(kind) for kind in get_args(MarketEvent)))
MESSAGES: "st.SearchStrategy[FeedMessage]" = st.one_of(
    st.builds(Block, events=st.lists(EVENTS, max_size=4).map(tuple), received_ns=st.integers(0)),
    st.builds(
        Preconfirmed, events=st.lists(OF_MARKETS, max_size=4).map(tuple), received_ns=st.integers(0)
    ),
    st.builds(Reorg),
    st.builds(Finalised),
)
BATCHES = st.builds(
    FeedBatch, messages=st.lists(MESSAGES, max_size=3).map(tuple), head_at_ns=st.integers(0)
)


@given(st.text(), BATCHES)
def test_batch_comes_out_as_it_went_in(group: str, batch: FeedBatch) -> None:
    sent = Feed(group, batch)
    found = pickle.loads(pickle.dumps(sent))
    assert found == sent
    events = [one for m in found.batch.messages for one in getattr(m, "events", ())]
    before = [one for m in batch.messages for one in getattr(m, "events", ())]
    assert [type(one) for one in events] == [type(one) for one in before]


@pytest.mark.parametrize("kind", get_args(ChainEvent))
@given(data=st.data())
def test_every_kind_of_event_crosses(kind: type, data: st.DataObject) -> None:
    block = data.draw(st.builds(Block, events=st.tuples(st.builds(kind))))
    sent = Feed("one", data.draw(st.builds(FeedBatch, messages=st.just((block,)))))
    assert pickle.loads(pickle.dumps(sent)) == sent
