"""The ledger of points: counts what is final, batch by batch, each exactly once.

It reads final work from the outbox behind a cursor of its own, works the rows out by
`engine.points` and hands rows and cursor to the store as one. At the end of a day of the
chain's time the batch ends too, and the day gets its Merkle root before anything later is
counted. It keeps nothing in memory that is not in the stores.

Transfers between the chains have an outbox and a cursor of their own. What one is worth hangs on
nothing that other deeds change, so their rows stand where they were counted; but none is counted
before the ledger has reached the day of its payment.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from actors.ports import Log
from engine.bridge.requests import Key
from engine.control import Directory, Drain, StatusWanted
from engine.errors import RiseCurveError
from engine.messages import MarketEvent
from engine.points.book import Book
from engine.points.deeds import deed_of, deed_of_transfer
from engine.points.entries import Deed
from engine.points.rules import DAY_S, RuleBook
from engine.points.state import Known

BATCH = 500
IDLE_S = 1.0
"""Between two looks where nothing is to be counted: final blocks are counted, of seconds ago."""

KEEP_UP_S = 60
"""The cursor moves through empty blocks this often: what is read again is nothing."""


class Due(Protocol):
    """Final events, each with its token's creator; see `storage.outbox.Due`."""

    @property
    def events(self) -> Sequence[tuple[MarketEvent, bytes]]: ...
    @property
    def block(self) -> int: ...
    @property
    def time(self) -> int | None: ...


class Outbox(Protocol):
    """`storage.outbox`."""

    async def due(self, after: int, limit: int) -> Due: ...


class Counted(Protocol):
    """`storage.points.Counted`."""

    @property
    def block(self) -> int: ...
    @property
    def time(self) -> int: ...


class Ledger(Protocol):
    """`storage.points`."""

    async def counted(self) -> Counted: ...
    async def known(
        self,
        *,
        wallets: Iterable[bytes],
        places: Iterable[tuple[bytes, bytes]],
        tags: Iterable[bytes],
        now: int,
    ) -> Known: ...
    async def commit(self, book: Book, known: Known, *, before: Any, after: Any) -> bool: ...
    async def bridged(self) -> int: ...
    async def commit_bridged(self, book: Book, *, before: int, after: int) -> bool: ...


class Ended(Protocol):
    """`storage.bridge_outbox.Ended`."""

    @property
    def seq(self) -> int: ...
    @property
    def key(self) -> Key: ...
    @property
    def status(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...


class Transfers(Protocol):
    """`storage.bridge_outbox`."""

    async def ended_after(self, seq: int, limit: int) -> Sequence[Ended]: ...


class Days(Protocol):
    """`storage.point_days`."""

    async def closed(self, season: str, day: int) -> bool: ...
    async def close(self, season: str, day: int) -> bytes: ...


class PointsLedger:
    """Plain class; `handlers` is its whole behaviour, `run` its work."""

    def __init__(
        self,
        *,
        rules: RuleBook,
        outbox: Outbox,
        ledger: Ledger,
        days: Days,
        place: Callable[[int, int], Any],
        log: Log,
        transfers: Transfers | None = None,
    ) -> None:
        self._rules = rules
        self._outbox = outbox
        self._ledger = ledger
        self._days = days
        self._place = place
        self._log = log
        self._transfers = transfers
        self._stopped = asyncio.Event()
        self._down = False
        self._figures = {"block": -1, "entries": 0, "owed": 0, "days": 0, "behind": 0}
        self._figures["transfers"] = 0
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            StatusWanted: lambda _: dict(self._figures),
            Drain: lambda _: self._stopped.set(),
        }

    async def run(self) -> None:
        """Count until cancelled or drained; a store that is away is asked again."""
        while not self._stopped.is_set():
            try:
                more = await self.step()
                self._tell(None)
            except RiseCurveError as error:
                more = False
                self._tell(error)
            if not more:
                await asyncio.sleep(IDLE_S)

    async def step(self) -> bool:
        """One batch, or one day's end. Whether there may be more at once."""
        counted = await self._ledger.counted()
        if await self._close_day(counted):
            return True
        if await self._count_transfers(counted):
            return True
        due = await self._outbox.due(counted.block, BATCH)
        if due.time is None:
            return False
        deeds = [
            deed for event, creator in due.events if (deed := deed_of(event, creator)) is not None
        ]
        block, now = due.block, max(due.time, counted.time)
        # Nothing was counted yet: the first deed's day is the first.
        first = counted.time + 1 if counted.time else min([now, *(one.time for one in deeds)])
        day_end = _day_end(first)
        if now > day_end:
            # Up to the last second of the day; what is later is read again after its root.
            deeds = [deed for deed in deeds if deed.time <= day_end]
            block = max([counted.block, *(deed.block for deed in deeds)])
            now = day_end
        return await self._count(deeds, counted, self._place(block, now))

    async def _count(self, deeds: Sequence[Deed], before: Counted, after: Counted) -> bool:
        known = await self._ledger.known(
            wallets={deed.who for deed in deeds},
            places={(deed.who, deed.token) for deed in deeds if deed.kind == "trade"},
            tags={deed.tag for deed in deeds},
            now=after.time,
        )
        book = Book(self._rules, known)
        book.write(deeds, now=after.time)
        nothing = not (deeds or book.closed)
        if nothing and after.time < min(before.time + KEEP_UP_S, _day_end(before.time + 1)):
            return False
        if not await self._ledger.commit(book, known, before=before, after=after):
            self._log.warning("points_counted_by_another", block=before.block)
            return True
        self._figures["block"] = after.block
        self._figures["entries"] += len(book.entries)
        self._figures["owed"] += len(book.owed)
        return bool(deeds) or after.time == _day_end(after.time)

    async def _count_transfers(self, counted: Counted) -> bool:
        if self._transfers is None or counted.time == 0:
            return False
        before = await self._ledger.bridged()
        found = []
        for one in await self._transfers.ended_after(before, BATCH):
            deed = deed_of_transfer(one.key, one.payload, one.status)
            if deed is not None and deed.time > _day_end(counted.time + 1):
                break  # of a day that the ledger has not reached
            found.append((one.seq, deed))
        if not found:
            return False
        deeds = [deed for _, deed in found if deed is not None]
        wallets = {deed.who for deed in deeds}
        # No windows: they are closed by what the ledger itself counts.
        known = await self._ledger.known(wallets=wallets, places=(), tags=(), now=-1)
        book = Book(self._rules, known)
        book.write(deeds, now=-1)
        if not await self._ledger.commit_bridged(book, before=before, after=found[-1][0]):
            self._log.warning("transfers_counted_by_another", seq=before)
            return True
        self._figures["transfers"] += len(deeds)
        self._figures["entries"] += len(book.entries)
        return True

    async def _close_day(self, counted: Counted) -> bool:
        # The cursor rests on a day's last second only until that day has its root.
        if counted.time == 0 or counted.time != _day_end(counted.time):
            return False
        day = counted.time // DAY_S
        for season in self._rules.seasons_of_day(day):
            if not await self._days.closed(season.id, day):
                root = await self._days.close(season.id, day)
                self._figures["days"] += 1
                self._log.info("points_day_closed", season=season.id, day=day, root=root.hex())
                return True
        return False

    def _tell(self, error: RiseCurveError | None) -> None:
        if error is not None and not self._down:
            self._log.warning("points_wait_for_a_store", error=str(error))
        self._down = error is not None


def _day_end(time: int) -> int:
    # The last second of the day that this second is in.
    return time - time % DAY_S + DAY_S - 1
