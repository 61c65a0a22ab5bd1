"""The recorder: once, in order, fenced; a lost store loses nothing."""

import asyncio

import pytest

from actors.recorder import Recorder
from engine import history as rows
from engine.control import Feed
from engine.errors import ConsistencyError, TransientError
from engine.messages import FeedBatch, FeedPosition, Finalised
from tests.support import fake_roles
from tests.support.scenario import CHAIN_ID, Scenario
from tests.support.shard_world import CHAIN


class FakeHistory:
    """The cursor and rows of Postgres; may be down, or fail after it has committed."""

    def __init__(self):
        self.incarnation, self.at = 0, FeedPosition(-1, bytes(32))
        self.blocks, self.final = [], -1
        self.down = self.lose_reply = False
        self.curves, self.closes = {}, {}

    async def claim(self):
        self.incarnation += 1
        return self.incarnation

    async def position(self):
        return self.at

    async def write(self, rows, *, incarnation, position):
        if self.down:
            raise TransientError("store_unavailable", "down")
        if incarnation != self.incarnation:
            return False
        for row in rows:
            if row.header.number > self.at.number:
                self.blocks.append(row)
                self.curves.update({one.token: one.curve for one in row.tokens})
        if position.number > self.at.number:
            self.at = position
        if self.lose_reply:
            raise TransientError("store_unavailable", "no reply")
        return True

    async def finalise(self, number, incarnation):
        self.final = number
        return True

    async def token_curves(self, tokens):
        return {token: self.curves[token] for token in tokens}

    async def last_markets(self, tokens):
        rows = {row.token: row for block in self.blocks for row in block.markets}
        return {token: rows[token] for token in tokens}

    async def trail(self, limit):
        return [FeedPosition(b.header.number, b.header.hash) for b in reversed(self.blocks)][:limit]

    async def event_seqs(self):
        numbered = [e for b in self.blocks for e in b.events]
        return {e.at.emitter: e.event_seq for e in numbered}

    async def last_block_of(self, emitter):
        return max(e.at.block_number for b in self.blocks for e in b.events)

    async def rewind(self, ancestor, *, incarnation):
        if incarnation != self.incarnation:
            return False
        self.blocks = [b for b in self.blocks if b.header.number <= ancestor.number]
        self.at = ancestor
        return True

    async def checked(self, tx_hashes):
        return None

    async def pending(self, limit):
        return []


class FakeReceipts:
    async def receipt(self, tx_hash):
        return None

    async def revert_reason(self, tx_hash):
        return ""


def recorder(store):
    return Recorder(
        name="recorder/1",
        chain=CHAIN,
        history=store,
        receipts=FakeReceipts(),
        calls=fake_roles.Calls(),
        log=fake_roles.Log(),
    )


def blocks(count):
    scenario = Scenario(seed=2)
    scenario.launch("a")
    made = [scenario.seal()]
    for _ in range(count - 1):
        scenario.trade_at_random(3)
        made.append(scenario.seal())
    return made


def position(block):
    return FeedPosition(block.header.number, block.header.hash)


async def send(role, after, *messages):
    batch = FeedBatch(CHAIN_ID, after, messages, 99)
    return await role.handlers[type(Feed("", batch))](Feed("recorder", batch))


async def test_feed_twice_writes_once():
    store, made = FakeHistory(), blocks(3)
    role = recorder(store)
    await role.start()
    nowhere = FeedPosition(-1, bytes(32))
    assert await send(role, nowhere, *made) == position(made[-1])
    assert await send(role, nowhere, *made) == position(made[-1])
    assert [row.header.number for row in store.blocks] == [1, 2, 3]


async def test_feed_at_once_from_two_sides_writes_once():
    store, made = FakeHistory(), blocks(3)
    role = recorder(store)
    await role.start()
    nowhere = FeedPosition(-1, bytes(32))
    await asyncio.gather(*(send(role, nowhere, *made) for _ in range(5)))
    assert len(store.blocks) == 3


async def test_store_down_keeps_the_position_and_nothing_is_lost():
    store, made = FakeHistory(), blocks(2)
    role = recorder(store)
    await role.start()
    nowhere = FeedPosition(-1, bytes(32))
    store.down = True
    with pytest.raises(TransientError):
        await send(role, nowhere, *made)
    store.down = False
    assert await send(role, nowhere, *made) == position(made[-1])
    assert len(store.blocks) == 2


async def test_lost_reply_after_commit_writes_no_block_twice():
    store, made = FakeHistory(), blocks(2)
    role = recorder(store)
    await role.start()
    nowhere = FeedPosition(-1, bytes(32))
    store.lose_reply = True
    with pytest.raises(TransientError):
        await send(role, nowhere, *made)
    store.lose_reply = False
    assert await send(role, nowhere, *made) == position(made[-1])
    assert len(store.blocks) == 2


async def test_second_recorder_fences_the_first_which_ends():
    store, made = FakeHistory(), blocks(2)
    first, second = recorder(store), recorder(store)
    await first.start()
    await second.start()
    background = asyncio.create_task(first.run())
    await asyncio.sleep(0.02)
    assert not background.done()
    with pytest.raises(ConsistencyError, match="fenced"):
        await send(first, FeedPosition(-1, bytes(32)), *made)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(background, 1)
    assert caught.group_contains(ConsistencyError, match="broken")
    assert store.blocks == []


async def test_new_recorder_starts_at_the_cursor():
    store, made = FakeHistory(), blocks(4)
    first = recorder(store)
    await first.start()
    await send(first, FeedPosition(-1, bytes(32)), *made[:2])
    second = recorder(store)
    await second.start()
    early = await send(second, FeedPosition(-1, bytes(32)), *made)
    assert early == position(made[1])
    assert await send(second, early, *made[2:]) == position(made[3])
    assert [row.header.number for row in store.blocks] == [1, 2, 3, 4]


async def test_finalised_moves_the_marker():
    store, made = FakeHistory(), blocks(1)
    role = recorder(store)
    await role.start()
    await send(role, FeedPosition(-1, bytes(32)), *made, Finalised(CHAIN_ID, 1))
    assert store.final == 1


async def test_feed_of_launch_and_trades_in_one_batch_carries_curve_and_close():
    scenario = Scenario(seed=2)
    token = scenario.launch("a")
    made = [scenario.seal()]
    for _ in range(3):
        scenario.buy(token, 10**17)
        made.append(scenario.seal())
    store = FakeHistory()
    role = recorder(store)
    await role.start()
    assert await send(role, FeedPosition(-1, bytes(32)), *made) == position(made[-1])
    candles = [row.candles[0] for row in store.blocks[1:]]
    assert [one.open for one in candles[1:]] == [one.close for one in candles[:-1]]
    assert candles[0].open == store.blocks[0].tokens[0].initial_price_e18


async def test_feed_of_many_events_is_written_in_bounded_transactions(monkeypatch):
    monkeypatch.setattr("actors.recorder.WRITE_EVENTS_MAX", 5)
    store, made = FakeHistory(), blocks(6)
    sizes = []
    write = store.write

    async def counted(rows, **kwargs):
        sizes.append(len(rows))
        return await write(rows, **kwargs)

    store.write = counted
    role = recorder(store)
    await role.start()
    assert await send(role, FeedPosition(-1, bytes(32)), *made) == position(made[-1])
    assert len(sizes) > 1
    assert [row.header.number for row in store.blocks] == [1, 2, 3, 4, 5, 6]


class SlowHistory(FakeHistory):
    """Takes its time over a write, and logs when each begins and ends."""

    def __init__(self, log, fails_at=-1):
        super().__init__()
        self.log, self.fails_at = log, fails_at

    async def write(self, rows, *, incarnation, position):
        self.log.append(("begun", position.number))
        await asyncio.sleep(0.01)
        self.down = self.fails_at == position.number
        try:
            return await super().write(rows, incarnation=incarnation, position=position)
        finally:
            self.log.append(("ended", position.number))


def log_rows(monkeypatch, log):
    real = rows.rows_of

    def logged(block, *args, **kwargs):
        log.append(("rows", block.header.number))
        return real(block, *args, **kwargs)

    monkeypatch.setattr("actors.recorder.history.rows_of", logged)


async def test_rows_are_made_while_those_before_are_written_and_one_write_follows_another(
    monkeypatch,
):
    monkeypatch.setattr("actors.recorder.WRITE_EVENTS_MAX", 1)
    log = []
    log_rows(monkeypatch, log)
    store, made = SlowHistory(log), blocks(4)
    role = recorder(store)
    await role.start()
    assert await send(role, FeedPosition(-1, bytes(32)), *made) == position(made[-1])
    writes = [one for one in log if one[0] != "rows"]
    assert writes == [(what, n) for n in (1, 2, 3, 4) for what in ("begun", "ended")]
    for number in (2, 3, 4):
        assert log.index(("rows", number)) < log.index(("ended", number - 1))


async def test_write_that_fails_leaves_the_position_before_it_and_nothing_after_it(monkeypatch):
    monkeypatch.setattr("actors.recorder.WRITE_EVENTS_MAX", 1)
    log = []
    store, made = SlowHistory(log, fails_at=2), blocks(4)
    role = recorder(store)
    await role.start()
    with pytest.raises(TransientError):
        await send(role, FeedPosition(-1, bytes(32)), *made)
    assert log[-1] == ("ended", 2) and [row.header.number for row in store.blocks] == [1]
    store.fails_at = -1
    assert await send(role, FeedPosition(-1, bytes(32)), *made) == position(made[0])
    assert await send(role, position(made[0]), *made[1:]) == position(made[-1])
    assert [row.header.number for row in store.blocks] == [1, 2, 3, 4]


async def test_block_that_does_not_fit_leaves_those_before_it_written(monkeypatch):
    monkeypatch.setattr("actors.recorder.WRITE_EVENTS_MAX", 1)
    store, made = SlowHistory([]), blocks(3)
    real = rows.rows_of

    def strange(block, *args, **kwargs):
        if block.header.number == 3:
            raise KeyError("unheard of")
        return real(block, *args, **kwargs)

    monkeypatch.setattr("actors.recorder.history.rows_of", strange)
    role = recorder(store)
    await role.start()
    with pytest.raises(KeyError):
        await send(role, FeedPosition(-1, bytes(32)), *made)
    assert store.at == position(made[1])
    assert await send(role, FeedPosition(-1, bytes(32)), *made) == position(made[1])
