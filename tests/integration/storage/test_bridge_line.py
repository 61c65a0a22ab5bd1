"""What has waited longest for room, of each vault, over a real Postgres."""

from dataclasses import replace
from typing import Any

import pytest

from engine.bridge.line import FULL, HELD, NOT_FOR_ROOM, Eldest
from engine.bridge.messages import Message
from engine.bridge.requests import PROCESSING, Decision, Request, Step
from engine.bridge.sends import Send
from engine.messages import FeedBatch, FeedPosition, Finalised
from storage.bridge import BridgeEvents
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import BridgeSends
from tests.support import transfers as t

NOWHERE = FeedPosition(-1, bytes(32))
ONE, TWO, BACK = (t.message(nonce) for nonce in (1, 2, 3))
BLOCK_TIME = 1_000_000
"""Of block 0, as `transfers` has them."""


def key(message: Message) -> tuple[int, int, bytes]:
    return (message.source_chain, 1, message.id)


async def feed(pool: Any, chain_id: int, *events: Any, blocks: int = 9) -> None:
    """Blocks 1 to `blocks`, final; `events` by the number of their block."""
    made = [
        t.block(
            t.header(chain_id, number), *(one for one in events if one.at.block_number == number)
        )
        for number in range(1, blocks + 1)
    ]
    batch = FeedBatch(chain_id, NOWHERE, (*made, Finalised(chain_id, blocks)), blocks)
    await BridgeEvents(pool).feed(batch)


@pytest.fixture
async def waiting(pool: Any) -> BridgeRequests:
    """Two are queued on RISE, in blocks 3 and 5; one goes back to Sepolia since block 4 of RISE."""
    deposits = [
        t.deposited(t.at(t.SEPOLIA, 2, index=index), index + 1, one)
        for index, one in enumerate((ONE, TWO, BACK))
    ]
    await feed(pool, t.SEPOLIA, *deposits)
    await feed(
        pool,
        t.RISE,
        t.queued(t.at(t.RISE, 3), 1, TWO),
        t.cancelled(t.at(t.RISE, 4), 2, BACK),
        t.queued(t.at(t.RISE, 5), 3, ONE),
    )
    requests = BridgeRequests(pool)
    for one in (ONE, TWO):
        await said(requests, one, Step.QUEUED, FULL)
    await said(requests, BACK, Step.REFUNDING, FULL)
    return requests


async def said(requests: BridgeRequests, message: Message, step: Step, reason: str) -> None:
    request: Any = Request(
        key=key(message), target_chain=t.RISE, status="", step="", reason="", attempts=0, revision=0
    )
    state = Decision(PROCESSING, step, reason=reason)
    await requests.advance(request, state, attempts=1, pause_s=60)


def eldest(chain_id: int, message: Message, block: int, now: int = 9) -> Eldest:
    times = BLOCK_TIME + block, BLOCK_TIME + now
    return Eldest(chain_id, key(message), message.amount, *times)


async def test_eldest_is_by_vault_who_was_queued_or_cancelled_first(waiting: Any) -> None:
    wanted = [eldest(t.SEPOLIA, BACK, 4), eldest(t.RISE, TWO, 3)]
    assert await waiting.eldest() == wanted
    # What is held, or was tried in vain, keeps its place.
    for step, reason in (
        (Step.QUEUED, HELD),
        (Step.QUEUED, "stale_chain: Expected an answer"),
        (Step.ATTESTING, "0 of 2 signatures: no answer"),
        (Step.RELEASING, "other transactions wait before it"),
    ):
        await said(waiting, TWO, step, reason)
        assert await waiting.eldest() == wanted


@pytest.mark.parametrize("reason", NOT_FOR_ROOM)
async def test_who_waits_for_something_else_than_room_is_not_the_eldest(
    waiting: Any, reason: str
) -> None:
    await said(waiting, TWO, Step.QUEUED, reason)
    await said(waiting, BACK, Step.REFUNDING, reason)
    assert await waiting.eldest() == [eldest(t.RISE, ONE, 5)]


async def test_who_is_sent_or_paid_is_not_the_eldest(waiting: Any, pool: Any) -> None:
    send = Send(
        chain_id=t.RISE,
        sender=b"\x51" * 20,
        nonce=0,
        request=key(TWO),
        kind="release",
        to=b"\x09" * 20,
        data=b"",
        gas=1,
    )
    assert await BridgeSends(pool).reserve(send) == 0
    refund = Send(
        **{name: getattr(send, name) for name in ("sender", "nonce", "to", "data", "gas")},
        chain_id=t.SEPOLIA,
        request=key(BACK),
        kind="refund",
    )
    assert await BridgeSends(pool).reserve(refund) == 0
    assert await waiting.eldest() == [eldest(t.RISE, ONE, 5)]


async def test_payment_by_somebody_else_ends_the_wait(waiting: Any, pool: Any) -> None:
    batches = {
        t.RISE: t.released(t.at(t.RISE, 10), 4, TWO),
        t.SEPOLIA: t.refunded(t.at(t.SEPOLIA, 10), 4, BACK),
    }
    for chain_id, event in batches.items():
        after = FeedPosition(9, t.header(chain_id, 9).hash)
        block = t.block(t.header(chain_id, 10), event)
        await BridgeEvents(pool).feed(FeedBatch(chain_id, after, (block,), 10))
    assert await waiting.eldest() == [eldest(t.RISE, ONE, 5, now=10)]


async def test_cancel_of_what_is_queued_ends_its_wait_before_anybody_looked(
    waiting: Any, pool: Any
) -> None:
    after = FeedPosition(9, t.header(t.RISE, 9).hash)
    block = t.block(t.header(t.RISE, 10), t.cancelled(t.at(t.RISE, 10), 4, TWO))
    await BridgeEvents(pool).feed(FeedBatch(t.RISE, after, (block,), 10))
    wanted = [eldest(t.SEPOLIA, BACK, 4), eldest(t.RISE, ONE, 5, now=10)]
    assert await waiting.eldest() == wanted


async def test_what_is_held_before_it_was_queued_is_in_no_line(waiting: Any, pool: Any) -> None:
    other = replace(t.MESSAGE, nonce=4)
    block = t.block(t.header(t.SEPOLIA, 10), t.deposited(t.at(t.SEPOLIA, 10), 4, other))
    after = FeedPosition(9, t.header(t.SEPOLIA, 9).hash)
    await BridgeEvents(pool).feed(FeedBatch(t.SEPOLIA, after, (block,), 10))
    for one in (ONE, TWO, BACK):
        await said(waiting, one, Step.QUEUED, NOT_FOR_ROOM[0])
    await said(waiting, other, Step.QUEUED, HELD)
    assert await waiting.eldest() == []
