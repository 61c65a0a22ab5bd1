"""Transfers between two chains as the stores are told of them, from the first event to the end."""

from dataclasses import replace
from typing import Any

from engine.bridge.events import TransferEvent
from engine.bridge.messages import Message
from engine.bridge.requests import Decision, Request, Step
from engine.messages import FeedBatch, FeedPosition, Finalised, Reorg
from storage import postgres
from storage.bridge import BridgeEvents
from storage.bridge_notices import BridgeNotices
from storage.bridge_outbox import BridgeOutbox, Ended
from storage.bridge_reads import BridgeReads
from storage.bridge_requests import BridgeRequests
from tests.support import transfers as t

DAY_S = 86_400


class Chain:
    """One vault's history, a block for each event, fed to the store as it is made."""

    def __init__(self, pool: Any, chain_id: int) -> None:
        self.pool, self.chain_id = pool, chain_id
        self.number = self.seq = 0

    @property
    def position(self) -> FeedPosition:
        if self.number == 0:
            return FeedPosition(-1, bytes(32))
        return FeedPosition(self.number, t.header(self.chain_id, self.number).hash)

    async def say(self, make: Any, of: Message, *, final: bool = True) -> TransferEvent:
        """The next event; `make` is one of `tests.support.transfers`."""
        before, self.number, self.seq = self.position, self.number + 1, self.seq + 1
        event: TransferEvent = make(t.at(self.chain_id, self.number), self.seq, of)
        messages: list[Any] = [t.block(t.header(self.chain_id, self.number), event)]
        if final:
            messages.append(Finalised(self.chain_id, self.number))
        await self.feed(before, messages)
        return event

    async def feed(self, after: FeedPosition, messages: list[Any]) -> None:
        batch = FeedBatch(self.chain_id, after, tuple(messages), self.number)
        await BridgeEvents(self.pool).feed(batch)

    async def finalise(self) -> None:
        await self.feed(self.position, [Finalised(self.chain_id, self.number)])

    async def reorganise(self, depth: int) -> None:
        head, self.number, self.seq = self.position, self.number - depth, self.seq - depth
        at = self.position
        await self.feed(head, [Reorg(self.chain_id, at.number, at.hash)])


class Bridge:
    """Both chains; `transfer` takes one to its end, by the stores that the relayer uses."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.source, self.target = Chain(pool, t.SEPOLIA), Chain(pool, t.RISE)
        self.requests, self.outbox = BridgeRequests(pool), BridgeOutbox(pool)
        self.notices = BridgeNotices(pool)
        self.reads = BridgeReads(pool, [t.RISE, t.SEPOLIA])
        self.count = 0

    async def transfer(
        self, *, back: bool = False, who: bytes = t.DEPOSITOR, ends: bool = True
    ) -> Message:
        """To its end; without `ends` it was paid, and the payment is not final."""
        self.count += 1
        one = replace(t.message(self.count), amount=t.ETHER + self.count, depositor=who)
        await self.source.say(t.deposited, one)
        if not ends:
            await self.target.say(t.released, one, final=False)
            return one
        if back:
            await self.target.say(t.cancelled, one)
            await self.source.say(t.refunded, one)
        else:
            await self.target.say(t.released, one)
        await self.end(one, back=back)
        return one

    async def end(self, one: Message, *, back: bool = False) -> None:
        step, status = (Step.REFUNDED, "FAILED") if back else (Step.RELEASED, "COMPLETED")
        assert await self.requests.end(await self.request(one), Decision(status, step))

    async def request(self, one: Message) -> Request:
        ((request, _),) = [
            pair for pair in await self.requests.due(1_000) if pair[0].key[2] == one.id
        ]
        return request

    async def older(self, days: int) -> None:
        """Everything that is there was there so many days before."""
        await self.execute(
            f"UPDATE bridge_requests SET ended_at = ended_at - interval '{days} days'",
            f"UPDATE bridge_outbox SET visible_at = visible_at - interval '{days} days'",
        )

    async def execute(self, *statements: str) -> None:
        async with postgres.session(self.pool) as connection:
            for one in statements:
                await connection.execute(one)

    async def rows(self, table: str) -> int:
        async with postgres.session(self.pool) as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def all(self, after: int = 0, *, limit: int = 7) -> list[Ended]:
        found: list[Ended] = []
        while some := await self.outbox.ended_after(after, limit):
            found += some
            after = some[-1].seq
        return found

    async def forget(self, kept_days: int = 30) -> int:
        return await self.notices.forget_events(kept_s=kept_days * DAY_S, limit=10_000)
