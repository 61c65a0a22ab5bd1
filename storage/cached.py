"""`Reads` and `Documents` with a cache before them; every answer is the one without it.

A chart's closed steps do not change once a later block is recorded, except by what gives
history another revision; the open step is always read. A wallet's rows are those of the newest
block that changed one of them. A document is named by its hash.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from curves.values import names_of
from engine.limits import CANDLES_MAX, DOCUMENTS_KEPT_MAX
from engine.rows import CandleRow, HoldingRecord, WalletRecord
from engine.text import hex_of
from storage.cache import CHART_S, METADATA_S, PORTFOLIO_S, RowCache
from storage.documents import Documents
from storage.reads import Chart, Reads, Wallet

_CANDLE = names_of(CandleRow)[1:]
KEEP_FROM = 2
ASKED_KEYS_MAX = 16_384

if TYPE_CHECKING:
    from storage.documents import Database, Document
    from storage.postgres import Pool


class _Asked:
    # How often this process was asked for a key, of the newest ASKED_KEYS_MAX keys.

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._times: OrderedDict[str, int] = OrderedDict()

    def often(self, key: str) -> bool:
        # Counts; whether it was asked for so often that it is worth a look in Redis.
        times = min(self._times.pop(key, 0) + 1, self._wanted)
        self._times[key] = times
        while len(self._times) > ASKED_KEYS_MAX:
            self._times.popitem(last=False)
        return times >= self._wanted


class CachedReads(Reads):
    """As `Reads`. Without Redis it is `Reads`. Rows are looked for and kept there from the
    `keep_from`th time on that this process is asked for them: most are asked for once, and to ask
    two stores for those would cost more than it saves.
    """

    def __init__(
        self, pool: "Pool", chain_id: int, cache: RowCache, *, keep_from: int = KEEP_FROM
    ) -> None:
        super().__init__(pool, chain_id)
        self._cache = cache
        self._asked = _Asked(keep_from)

    async def candles(
        self, token: bytes, *, start: int, end: int, step_s: int
    ) -> tuple[list[CandleRow], int | None]:
        """Closed steps from the cache, the last one live."""
        edge = end - step_s
        asked = f"{token.hex()}:{step_s}:{start}"
        if edge <= start or not self._asked.often(asked):
            return await super().candles(token, start=start, end=end, step_s=step_s)
        last = await self.chart(token, start=edge, end=end, step_s=step_s)
        key = f"chart:{token.hex()}:{step_s}:{start}:{edge}:{last.revision}"
        if last.recorded_time >= edge:
            (kept,) = await self._cache.get([key])
            if kept is not None:
                rows, before = _read_chart(kept, token)
                return (rows + last.rows)[-CANDLES_MAX:], before
        whole = await self.chart(token, start=start, end=end, step_s=step_s)
        if last.recorded_time >= edge and whole.revision == last.revision:
            closed = [row for row in whole.rows if row.time < edge]
            await self._cache.put({key: _chart(whole, closed)}, seconds=CHART_S)
        return whole.rows, whole.before

    async def holdings(self, owner: bytes, limit: int, *, closed: bool = False) -> WalletRecord:
        """From the cache while no block has changed a row of the wallet. Those of a wallet with
        `limit` or more are chosen by price, so they are always read.
        """
        if not self._asked.often(f"{owner.hex()}:{closed:d}"):
            return await super().holdings(owner, limit, closed=closed)
        now = await self.wallet_place(owner)
        if now.changed_block is None:
            return WalletRecord([], now.block, 0)
        (kept,) = await self._cache.get([_wallet_key(owner, now, closed=closed)])
        if kept is not None:
            return _read_wallet(kept, now.block)
        found = await self.wallet(owner, limit, closed=closed)
        if len(found.rows) < limit:
            key = _wallet_key(owner, found, closed=closed)
            await self._cache.put({key: _wallet(found)}, seconds=PORTFOLIO_S)
        return WalletRecord(found.rows, found.block, found.realised_wei)


class CachedDocuments(Documents):
    """As `Documents`. One hash is one document for ever, so a known one need not be asked for
    again: those asked for last stay in this process, and what has left it and is asked for again
    goes to Redis.
    """

    def __init__(
        self, database: "Database", cache: RowCache, *, keep_from: int = KEEP_FROM
    ) -> None:
        super().__init__(database)
        self._cache = cache
        self._often = _Asked(keep_from)
        self._known: OrderedDict[bytes, Document] = OrderedDict()

    async def metadata(self, hashes: Sequence[bytes]) -> dict[str, "Document"]:
        """0x-hash → document; unknown ones have no key, and are looked for the next time."""
        wanted = list(dict.fromkeys(hashes))
        known = {one: self._known[one] for one in wanted if one in self._known}
        found = await self._asked([one for one in wanted if one not in known])
        for one, document in [*known.items(), *found.items()]:
            self._known[one] = document
            self._known.move_to_end(one)
        while len(self._known) > DOCUMENTS_KEPT_MAX:
            self._known.popitem(last=False)
        return {hex_of(one): document for one, document in (known | found).items()}

    async def _asked(self, wanted: list[bytes]) -> dict[bytes, "Document"]:
        often = [one for one in wanted if self._often.often(one.hex())]
        kept = await self._cache.get([f"metadata:{one.hex()}" for one in often])
        found: dict[bytes, Document] = {
            one: orjson.loads(value)
            for one, value in zip(often, kept, strict=True)
            if value is not None
        }
        missing = [one for one in wanted if one not in found]
        if missing:
            read = {
                bytes.fromhex(name[2:]): document
                for name, document in (await super().metadata(missing)).items()
            }
            fresh = {
                f"metadata:{one.hex()}": orjson.dumps(read[one]) for one in often if one in read
            }
            await self._cache.put(fresh, seconds=METADATA_S)
            found |= read
        return found


def _wallet_key(owner: bytes, place: Wallet, *, closed: bool) -> str:
    return f"holdings:{owner.hex()}:{closed:d}:{place.revision}:{place.changed_block}"


# Integers are text: JSON's numbers end at 64 bits here.


def _chart(chart: Chart, closed: list[CandleRow]) -> bytes:
    before = None if chart.before is None else str(chart.before)
    rows = [[str(getattr(row, name)) for name in _CANDLE] for row in closed]
    return orjson.dumps([before, rows])


def _read_chart(value: bytes, token: bytes) -> tuple[list[CandleRow], int | None]:
    before, rows = orjson.loads(value)
    candles = [CandleRow(token, *map(int, row)) for row in rows]
    return candles, None if before is None else int(before)


def _wallet(wallet: Wallet) -> bytes:
    names = HoldingRecord.__slots__[3:]
    rows = [
        [row.token.hex(), row.name, row.symbol, *(str(getattr(row, name)) for name in names)]
        for row in wallet.rows
    ]
    return orjson.dumps([str(wallet.realised_wei), rows])


def _read_wallet(value: bytes, block: int) -> WalletRecord:
    realised_wei: str
    rows: list[list[Any]]
    realised_wei, rows = orjson.loads(value)
    holdings = [
        HoldingRecord(bytes.fromhex(token), name, symbol, *map(int, amounts))
        for token, name, symbol, *amounts in rows
    ]
    return WalletRecord(holdings, block, int(realised_wei))
