"""What the ledger of points has not counted yet, of a wallet and of those it brought.

The ledger's side is one snapshot of MongoDB; history is read after it, from the block on where
that snapshot stands, so no deed is in both and none between is left out. All of it is bounded;
where a bound was met `whole` is False.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.points.deeds import deed_of, deed_of_transfer
from engine.points.entries import Deed
from engine.points.state import Known
from engine.text import hex_of
from storage import postgres, queries, records
from storage.documents import guarded
from storage.events import RECORDER
from storage.points import Counted, bridge_cursor, person_of, wallet_of, window_of

if TYPE_CHECKING:
    from asyncpg import Record
    from pymongo.asynchronous.client_session import AsyncClientSession

    from storage.documents import Database, Document
    from storage.postgres import Pool

WALLETS_MAX = 200
"""Of each level, and windows of all of them: who brought more is shown a part."""

TRADES_MAX = 10_000
"""Trades of everybody that are looked through: some minutes of a busy chain."""

LAUNCHES_MAX = 200

TRANSFERS_MAX = 1_000
"""Transfers of everybody that are looked through, and of these wallets under way."""

_SQL = queries.load("uncounted")


@dataclass(frozen=True, slots=True)
class Uncounted:
    """`known` and `balance` are the ledger's at `counted`; `deeds` what is recorded above, final
    or not, up to block `tip`. `balance` has `micro`, `rows`, `by`.
    """

    counted: Counted
    balance: "Document"
    known: Known
    deeds: tuple[Deed, ...]
    tip: int
    whole: bool


class Recorded(Protocol):
    """`RecordedDeeds`."""

    async def above(
        self, wallets: Sequence[bytes], block: int, seq: int
    ) -> tuple[Sequence[Deed], int, bool]: ...


class RecordedDeeds:
    """One chain's history. All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", chain_id: int) -> None:
        self._pool = pool
        self._chain_id = chain_id

    async def above(
        self, wallets: Sequence[bytes], block: int, seq: int
    ) -> tuple[Sequence[Deed], int, bool]:
        """(deeds of these wallets above `block` in order, then their transfers between the chains
        that were paid and have no number up to `seq`; the last block recorded; whether those are
        all).
        """
        place = (self._chain_id, list(wallets), block)
        async with (
            postgres.session(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            tip = await connection.fetchval(_SQL["tip"], self._chain_id, RECORDER)
            trades = await connection.fetch(_SQL["trades"], *place, TRADES_MAX)
            launches = await connection.fetch(_SQL["launches"], *place, LAUNCHES_MAX)
            moved = await connection.fetch(_SQL["transfers"], list(wallets), seq, TRANSFERS_MAX)
        cut = bool(trades) and trades[-1]["place"] == TRADES_MAX
        known = frozenset(wallets)
        rows = [row for row in trades if row["creator"] in known] + launches
        rows.sort(key=lambda row: (row["block_number"], row["tx_index"], row["log_index"]))
        found = (
            deed_of(records.market_event(row, self._chain_id), bytes(row["creator"]))
            for row in rows
        )
        transfers = (_transfer(row) for row in moved if row["user_address"] in known)
        deeds = [deed for deed in (*found, *transfers) if deed is not None]
        whole = not cut and len(launches) < LAUNCHES_MAX
        whole = whole and all(row["place"] < TRANSFERS_MAX for row in moved)
        return deeds, -1 if tip is None else int(tip), whole


def _transfer(row: "Record") -> Deed | None:
    payload = {
        "message": row["message_id"].hex(),
        "paidAt": row["paid_at"],
        "user": row["user_address"].hex(),
        "amount": row["amount"],
    }
    key = (row["source_chain"], row["version"], row["id"])
    return deed_of_transfer(key, payload, row["status"])


class UncountedReads:
    """One chain's. All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database", recorded: Recorded, chain_id: int) -> None:
        self._recorded = recorded
        self._chain_id = chain_id
        self._bridge = bridge_cursor(chain_id)
        self._client = database.client
        self._cursors = database["points_cursors"]
        self._balances = database["points_balances"]
        self._windows = database["points_windows"]
        self._wallets = database["points_wallets"]
        self._users = database["users"]

    async def of(self, who: bytes, season: str) -> Uncounted:
        """All that `engine.points.pending` needs of this wallet."""
        async with guarded(), self._client.start_session(snapshot=True) as session:
            cursor = await self._cursors.find_one({"_id": self._chain_id}, session=session)
            bridge = await self._cursors.find_one({"_id": self._bridge}, session=session)
            name = f"{season}:{who.hex()}"
            balance = await self._balances.find_one({"_id": name}, session=session)
            known, whole = await self._known(who, session)
        counted = Counted(cursor["block"], cursor["time"]) if cursor else Counted(-1, 0)
        seq = int(bridge["seq"]) if bridge else 0
        deeds, tip, all_read = await self._recorded.above(sorted(known.people), counted.block, seq)
        balance = balance or {"micro": 0, "rows": 0, "by": {}}
        return Uncounted(counted, balance, known, tuple(deeds), tip, whole and all_read)

    # -------------------------------------------------------------------- private

    async def _known(self, who: bytes, session: "AsyncClientSession") -> tuple[Known, bool]:
        known, whole = Known(), True
        query: dict[str, Any] = {"_id": hex_of(who)}
        for _ in range(3):  # the wallet, whom it brought, and whom they brought
            found = await self._found(self._users, query, session)
            whole = whole and len(found) < WALLETS_MAX
            for one in found:
                known.people[bytes.fromhex(one["_id"][2:])] = person_of(one)
            query = {"referral.by": {"$in": [one["_id"] for one in found]}}
        ids = [hex_of(wallet) for wallet in known.people]
        for one in await self._found(self._wallets, {"_id": {"$in": ids}}, session, times=3):
            known.wallets[bytes.fromhex(one["_id"][2:])] = wallet_of(one)
        windows = await self._found(self._windows, {"who": {"$in": ids}}, session)
        for one in windows:
            window = window_of(one)
            known.windows[window.who, window.token] = window
        return known, whole and len(windows) < WALLETS_MAX

    @staticmethod
    async def _found(
        collection: Any, query: dict[str, Any], session: "AsyncClientSession", *, times: int = 1
    ) -> "list[Document]":
        most = WALLETS_MAX * times
        return list(await collection.find(query, session=session).limit(most).to_list(most))
