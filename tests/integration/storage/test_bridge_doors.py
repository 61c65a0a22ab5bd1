"""Requests of the doors, their steps, and who is told of them, over a real Postgres."""

import asyncio
from typing import Any

import pytest

from engine.bridge.requests import Decision, Step
from engine.errors import CallerError, TransientError
from engine.limits import BRIDGE_INTENTS_MAX
from engine.messages import FeedBatch, FeedPosition, Finalised
from storage import postgres
from storage.bridge import BridgeEvents
from storage.bridge_beats import BridgeBeats
from storage.bridge_notices import BridgeNotices, Notice
from storage.bridge_reads import BridgeReads, position_of
from storage.bridge_requests import BridgeRequests
from tests.support import transfers as t

REF = b"\x07" * 32
KEY = (t.SEPOLIA, 1, REF)
NOWHERE = FeedPosition(-1, bytes(32))


async def ask(
    pool: Any, key: Any = KEY, *, amount: int = t.ETHER, user: bytes = t.DEPOSITOR
) -> None:
    target = t.RISE if key[0] == t.SEPOLIA else t.SEPOLIA
    await BridgeRequests(pool).open(
        key, target_chain=target, user=user, recipient=t.RECIPIENT, amount_wei=amount
    )


async def feed(pool: Any, chain_id: int, *messages: Any, after: FeedPosition = NOWHERE) -> None:
    batch = FeedBatch(chain_id, after, tuple(messages), 10)
    await BridgeEvents(pool).feed(batch)


async def deposit(pool: Any, *, final: int | None = None) -> None:
    event = t.deposited(t.at(t.SEPOLIA, 2), 1, t.MESSAGE, REF)
    done = [] if final is None else [Finalised(t.SEPOLIA, final)]
    await feed(
        pool,
        t.SEPOLIA,
        t.block(t.header(t.SEPOLIA, 1)),
        t.block(t.header(t.SEPOLIA, 2), event),
        t.block(t.header(t.SEPOLIA, 3)),
        *done,
    )


async def told(pool: Any) -> list[Notice]:
    found: list[Notice] = []

    async def publish(notices: Any) -> None:
        found.extend(notices)

    await BridgeNotices(pool).tell(publish, 100)
    return found


async def execute(pool: Any, statement: str) -> None:
    async with postgres.session(pool) as connection:
        await connection.execute(statement)


async def test_request_asked_for_again_is_one_and_for_another_or_after_its_deposit_refused(
    pool: Any,
) -> None:
    await ask(pool)
    await ask(pool)
    with pytest.raises(CallerError, match="idempotency_conflict"):
        await ask(pool, amount=t.ETHER + 1)
    await deposit(pool)
    with pytest.raises(CallerError, match="idempotency_conflict"):
        await ask(pool)
    found, total, _ = await BridgeReads(pool, [t.RISE, t.SEPOLIA]).of_user(
        t.DEPOSITOR, page=1, limit=20
    )
    assert (len(found), total) == (1, 1)


async def test_requests_without_a_deposit_are_bounded_for_each_wallet(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BRIDGE_INTENTS_MAX == 200
    monkeypatch.setattr("storage.bridge_requests.BRIDGE_INTENTS_MAX", 3)
    for number in range(3):
        await ask(pool, (t.SEPOLIA, 1, bytes([number]) * 32))
    with pytest.raises(CallerError, match="rate_limited"):
        await ask(pool, (t.RISE, 1, b"\x09" * 32))
    await ask(pool, (t.SEPOLIA, 1, b"\x0a" * 32), user=b"\x66" * 20)


@pytest.mark.parametrize("room", [1, 5])
async def test_requests_at_once_are_exactly_as_many_as_there_is_room_for(
    pool: Any, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr("storage.bridge_requests.BRIDGE_INTENTS_MAX", room)
    users, many = [bytes([number]) * 20 for number in (0x61, 0x62)], 24

    async def one(number: int, user: bytes) -> str:
        key = ((t.SEPOLIA, t.RISE)[number % 2], 1, bytes([number]) + user[:1] * 31)
        try:
            await ask(pool, key, user=user)
        except CallerError as error:
            return error.code
        return "written"

    for _ in range(3):
        await execute(pool, "TRUNCATE bridge_requests CASCADE")
        asked = (one(number, user) for number in range(many) for user in users)
        found = await asyncio.gather(*asked)
        assert found.count("written") == len(users) * room
        assert set(found) == {"written", "rate_limited"}
        for user in users:
            reads = BridgeReads(pool, [t.RISE, t.SEPOLIA])
            assert (await reads.of_user(user, page=1, limit=50))[1] == room


async def test_key_that_is_used_at_once_is_one_request_and_another_wallets_is_another(
    pool: Any,
) -> None:
    requests, asked_key = BridgeRequests(pool), b"\x05" * 32

    async def one(number: int, user: bytes = t.DEPOSITOR, amount: int = t.ETHER) -> bytes:
        return await requests.open(
            (t.SEPOLIA, 1, bytes([number]) * 32),
            target_chain=t.RISE,
            user=user,
            recipient=t.RECIPIENT,
            amount_wei=amount,
            asked_key=asked_key,
        )

    ids = await asyncio.gather(*(one(number) for number in range(1, 13)))
    assert len(set(ids)) == 1
    other = await one(13, user=b"\x66" * 20)
    assert other == bytes([13]) * 32
    with pytest.raises(CallerError, match="idempotency_conflict"):
        await one(14, amount=t.ETHER + 1)
    found, total, _ = await BridgeReads(pool, [t.RISE, t.SEPOLIA]).of_user(
        t.DEPOSITOR, page=1, limit=20
    )
    assert (found[0].key[2], total) == (ids[0], 1)


async def test_requests_without_a_deposit_are_left_out_and_not_counted_where_asked(
    pool: Any,
) -> None:
    await ask(pool)
    await ask(pool, (t.SEPOLIA, 1, b"\x08" * 32))
    reads = BridgeReads(pool, [t.RISE, t.SEPOLIA])

    async def seen() -> tuple[list[bytes], int]:
        found, total, _ = await reads.of_user(t.DEPOSITOR, page=1, limit=20, deposited_only=True)
        return [one.key[2] for one in found], total

    assert await seen() == ([], 0)
    await deposit(pool)
    assert await seen() == ([REF], 1)


async def test_beat_of_a_relayer_is_its_last_and_names_of_yesterday_are_forgotten(
    pool: Any,
) -> None:
    beats, reads = BridgeBeats(pool), BridgeReads(pool, [t.RISE, t.SEPOLIA])
    await beats.say("old", closed="", paused=False)
    await beats.say("relayer", closed="x" * 1_000, paused=False)
    await beats.say("relayer", closed="halted", paused=True)
    found = await reads.beats()
    assert sorted((one.closed, one.paused) for one in found) == [("", False), ("halted", True)]
    assert all(0 <= one.age_s < 5 for one in found)
    await execute(pool, "UPDATE bridge_beats SET at = at - interval '25 hours'")
    await beats.say("relayer", closed="", paused=False)
    (one,) = await reads.beats()
    assert (one.closed, one.paused) == ("", False) and one.age_s < 5


async def test_every_step_is_noted_whoever_takes_it_and_told_once_in_order(pool: Any) -> None:
    await ask(pool)
    await deposit(pool)
    requests = BridgeRequests(pool)
    ((request, _),) = await requests.due(10)
    attesting = Decision("PROCESSING", Step.ATTESTING, reason="0 of 2")
    for _ in range(3):  # a step that stays is no new one
        await requests.advance(request, attesting, attempts=1, pause_s=0.0)
    steps = [(one.number, one.step, one.status) for one in await told(pool)]
    assert steps == [
        (1, "awaiting_deposit", "PENDING"),
        (2, "confirming", "PENDING"),
        (3, "attesting", "PROCESSING"),
    ]
    assert await told(pool) == []


async def test_step_that_could_not_be_published_is_told_again_and_two_tell_none_twice(
    pool: Any,
) -> None:
    await ask(pool)

    async def fails(_: Any) -> None:
        raise TransientError("store_unavailable", "Expected Redis")

    with pytest.raises(TransientError):
        await BridgeNotices(pool).tell(fails, 100)
    both: list[Notice] = []

    async def slow(notices: Any) -> None:
        await asyncio.sleep(0.1)
        both.extend(notices)

    stores = [BridgeNotices(pool), BridgeNotices(pool)]
    counts = await asyncio.gather(*(store.tell(slow, 100) for store in stores))
    assert sorted(counts) == [0, 1] and len(both) == 1


async def test_steps_of_one_transfer_are_bounded_and_its_end_is_kept(pool: Any) -> None:
    await ask(pool)
    await deposit(pool)
    for number in range(80):
        step = ("attesting", "releasing")[number % 2]
        await execute(pool, f"UPDATE bridge_requests SET step = '{step}'")
    await execute(
        pool,
        "UPDATE bridge_requests SET step = 'released', status = 'COMPLETED', ended_at = now()",
    )
    one, _ = await BridgeReads(pool, [t.RISE, t.SEPOLIA]).one(REF)
    assert one is not None
    assert len(one.steps) == 65 and one.steps[-1].step == "released"


async def test_deposit_taken_back_is_a_step_back_and_says_so(pool: Any) -> None:
    from engine.messages import Reorg

    await ask(pool)
    await deposit(pool)
    head = t.header(t.SEPOLIA, 3)
    ancestor = t.header(t.SEPOLIA, 1)
    await feed(
        pool,
        t.SEPOLIA,
        Reorg(t.SEPOLIA, ancestor.number, ancestor.hash),
        after=FeedPosition(head.number, head.hash),
    )
    assert [one.step for one in await told(pool)][-2:] == ["confirming", "awaiting_deposit"]


async def test_transfer_shows_confirmations_and_is_found_by_both_ids(pool: Any) -> None:
    await ask(pool)
    await deposit(pool, final=2)
    reads = BridgeReads(pool, [t.RISE, t.SEPOLIA])
    one, cursors = await reads.one(REF)
    assert one is not None and one.deposit is not None and one.payment is None
    assert (one.deposit.confirmations, one.deposit.final) == (2, True)
    assert (cursors[t.SEPOLIA].number, cursors[t.SEPOLIA].lag_s) == (3, 1.0)
    same, _ = await reads.one(t.MESSAGE.id)
    assert same == one
    nothing, _ = await BridgeReads(pool, [t.RISE]).one(REF)
    assert nothing is None


async def test_history_goes_on_behind_the_last_one_seen(pool: Any) -> None:
    for number in range(5):
        await ask(pool, (t.SEPOLIA, 1, bytes([number]) * 32))
    # Made in one instant: the id decides.
    await execute(pool, "UPDATE bridge_requests SET created_at = '2026-01-01 00:00:00.123456Z'")
    reads, seen, before = BridgeReads(pool, [t.RISE, t.SEPOLIA]), [], None
    for _ in range(3):
        found, total, _ = await reads.of_user(t.DEPOSITOR, page=1, limit=2, before=before)
        assert total == 5
        seen += [one.key[2][0] for one in found]
        before = position_of(found[-1])
    assert seen == [4, 3, 2, 1, 0]


async def test_old_requests_without_a_deposit_are_forgotten_others_are_not(pool: Any) -> None:
    await ask(pool)
    await ask(pool, (t.SEPOLIA, 1, b"\x08" * 32))
    await deposit(pool)
    await execute(
        pool,
        "UPDATE bridge_requests SET ended_at = now() - interval '8 days', status = 'FAILED',"
        " step = 'expired'",
    )
    store = BridgeNotices(pool)
    assert await store.forget_intents(kept_s=9 * 86_400, limit=10) == 0
    assert await store.forget_intents(kept_s=7 * 86_400, limit=10) == 1
    one, _ = await BridgeReads(pool, [t.RISE, t.SEPOLIA]).one(REF)
    assert one is not None


async def test_stuck_is_what_was_deposited_and_took_no_step_for_so_long(pool: Any) -> None:
    await ask(pool)
    reads = BridgeReads(pool, [t.RISE, t.SEPOLIA])
    await execute(pool, "UPDATE bridge_steps SET at = now() - interval '1 hour'")
    assert (await reads.stuck(older_than_s=60, limit=10))[0] == []
    await deposit(pool)
    assert (await reads.stuck(older_than_s=60, limit=10))[0] == []
    await execute(pool, "UPDATE bridge_steps SET at = now() - interval '1 hour'")
    ((one,), _) = await reads.stuck(older_than_s=60, limit=10)
    assert one.key == KEY
    assert (await reads.stuck(older_than_s=7_200, limit=10))[0] == []
    await execute(pool, "UPDATE bridge_requests SET step = 'contradiction'")
    assert len((await reads.stuck(older_than_s=7_200, limit=10))[0]) == 1
