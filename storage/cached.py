"""`Reads` and `Documents` with a cache before them; every answer is the one without it.

A chart's closed steps do not change once a later block is recorded, except by what gives
history another revision; the open step is always read. A wallet's rows are those of the newest
block that changed one of them. A document is named by its hash.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from engine.limits import CANDLES_MAX, DOCUMENTS_KEPT_MAX
from engine.rows import CandleRow, HoldingRecord, WalletRecord
from engine.text import hex_of
from storage.cache import CHART_S, METADATA_S, PORTFOLIO_S, RowCache
from storage.documents import Documents
from storage.reads import Chart, Reads, Wallet

KEEP_FROM = 2
ASKED_KEYS_MAX = 16_384

if TYPE_CHECKING:
    from storage.documents import Database, Document
    from storage.postgres import Pool


class CachedReads(Reads):
    """As `Reads`. Without Redis it is `Reads`. Rows are kept that were asked for `keep_from` times
    by this process: most are asked for once, and to keep them would cost more than it saves.
    """

    def __init__(
        self, pool: "Pool", chain_id: int, cache: RowCache, *, keep_from: int = KEEP_FROM
    ) -> None:
        super().__init__(pool, chain_id)
        self._cache = cache
        self._keep_from = keep_from
        self._asked: OrderedDict[str, int] = OrderedDict()

    async def _keep(self, key: str, rows: Callable[[], bytes], *, seconds: int) -> None:
        times = self._asked.pop(key, 0) + 1
        if times >= self._keep_from:
            await self._cache.put({key: rows()}, seconds=seconds)
            return
        self._asked[key] = times
        while len(self._asked) > ASKED_KEYS_MAX:
            self._asked.popitem(last=False)

    async def candles(
        self, token: bytes, *, start: int, end: int, step_s: int
    ) -> tuple[list[CandleRow], int | None]:
        """Closed steps from the cache, the last one live."""
        edge = end - step_s
        if edge <= start:
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
            await self._keep(key, lambda: _chart(whole, closed), seconds=CHART_S)
        return whole.rows, whole.before

    async def holdings(self, owner: bytes, limit: int, *, closed: bool = False) -> WalletRecord:
        """From the cache while no block has changed a row of the wallet. Those of a wallet with
        `limit` or more are chosen by price, so they are always read.
        """
        now = await self.wallet_place(owner)
        if now.changed_block is None:
            return WalletRecord([], now.block, 0)
        (kept,) = await self._cache.get([_wallet_key(owner, now, closed=closed)])
        if kept is not None:
            return _read_wallet(kept, now.block)
        found = await self.wallet(owner, limit, closed=closed)
        if len(found.rows) < limit:
            key = _wallet_key(owner, found, closed=closed)
            await self._keep(key, lambda: _wallet(found), seconds=PORTFOLIO_S)
        return WalletRecord(found.rows, found.block, found.realised_wei)


class CachedDocuments(Documents):
    """As `Documents`. One hash is one document for ever, so a known one need not be asked for
    again: those asked for last stay in this process, more of them in Redis.
    """

    def __init__(self, database: "Database", cache: RowCache) -> None:
        super().__init__(database)
        self._cache = cache
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
        if not wanted:
            return {}
        kept = await self._cache.get([f"metadata:{one.hex()}" for one in wanted])
        pairs = list(zip(wanted, kept, strict=True))
        found: dict[bytes, Document] = {
            one: orjson.loads(value) for one, value in pairs if value is not None
        }
        missing = [one for one, value in pairs if value is None]
        if missing:
            read = await super().metadata(missing)
            fresh = {f"metadata:{one[2:]}": orjson.dumps(value) for one, value in read.items()}
            await self._cache.put(fresh, seconds=METADATA_S)
            found |= {bytes.fromhex(one[2:]): document for one, document in read.items()}
        return found


def _wallet_key(owner: bytes, place: Wallet, *, closed: bool) -> str:
    return f"holdings:{owner.hex()}:{closed:d}:{place.revision}:{place.changed_block}"


# Integers are text: JSON's numbers end at 64 bits here.


def _chart(chart: Chart, closed: list[CandleRow]) -> bytes:
    before = None if chart.before is None else str(chart.before)
    rows = [[str(getattr(row, name)) for name in CandleRow.__slots__[1:]] for row in closed]
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
