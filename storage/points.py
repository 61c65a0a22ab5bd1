"""The ledgers of points and of shares owed, in MongoDB: append-only, one transaction a batch.

The cursor that says which blocks were counted moves in the transaction that adds their rows:
whoever dies anywhere leaves both as they were, or both as they are to be. Of two writers the
second finds the cursor moved and writes nothing. Every row has a key that is worked out from
the deed, so that even a lost cursor could not double one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from pymongo import ASCENDING, DESCENDING, DeleteOne, ReplaceOne, UpdateOne

from engine.points import merkle
from engine.points.book import Book
from engine.points.entries import Entry, Owed
from engine.points.state import Known, Person, Wallet, Window
from engine.text import hex_of
from storage.documents import guarded

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from storage.documents import Database, Document

UPWARDS = 2
"""Levels of referrers above a wallet that count."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Everything up to `block` and up to the chain's time `time` is in the ledgers."""

    block: int
    time: int


def bridge_cursor(chain_id: int) -> str:
    """The name of the cursor of transfers between the chains, beside that of the chain."""
    return f"bridge of {chain_id}"


class PointsStore:
    """One chain's ledgers. All methods raise TransientError (store_unavailable)."""

    def __init__(self, database: "Database", chain_id: int) -> None:
        self._chain_id = chain_id
        self._bridge = bridge_cursor(chain_id)
        self._client = database.client
        self._cursors = database["points_cursors"]
        self._ledger = database["points_ledger"]
        self._balances = database["points_balances"]
        self._totals = database["points_totals"]
        self._windows = database["points_windows"]
        self._wallets = database["points_wallets"]
        self._owed = database["referral_ledger"]
        self._owed_totals = database["referral_totals"]
        self._codes = database["referral_codes"]
        self._users = database["users"]
        self._session: AsyncClientSession | None = None

    async def prepare(self) -> None:
        """Makes the indexes and the cursor; repeatable, also from several processes at once."""
        async with guarded():
            await self._ledger.create_index(
                [("season", ASCENDING), ("who", ASCENDING), ("n", ASCENDING)], unique=True
            )
            await self._ledger.create_index([("who", ASCENDING), ("time", DESCENDING)])
            await self._balances.create_index(
                [("season", ASCENDING), ("micro", DESCENDING), ("who", ASCENDING)]
            )
            await self._windows.create_index([("closesAt", ASCENDING)])
            await self._windows.create_index([("who", ASCENDING)])
            await self._owed.create_index([("who", ASCENDING), ("time", DESCENDING)])
            await self._users.create_index([("referral.by", ASCENDING)])
            await self._cursors.update_one(
                {"_id": self._chain_id}, {"$setOnInsert": {"block": -1, "time": 0}}, upsert=True
            )
            await self._cursors.update_one(
                {"_id": self._bridge}, {"$setOnInsert": {"seq": 0}}, upsert=True
            )

    async def claim(self) -> None:
        """Ends the transaction of an earlier writer that died in one: it would hold the cursor
        until MongoDB gives it up, which takes a minute. To be called before the first commit.
        """
        session = self._client.start_session()
        owner = {"_id": f"owner of {self._chain_id}"}
        async with guarded():
            before = await self._cursors.find_one(owner)
            if before is not None:
                await self._client.admin.command({"killSessions": [before["session"]]})
            await self._cursors.replace_one(
                owner, owner | {"session": session.session_id}, upsert=True
            )
        self._session = session

    async def counted(self) -> Counted:
        """Where the ledgers stand."""
        async with guarded():
            found = await self._cursors.find_one({"_id": self._chain_id})
        assert found is not None, "prepare() makes it"
        return Counted(found["block"], found["time"])

    async def known(
        self,
        *,
        wallets: Iterable[bytes],
        places: Iterable[tuple[bytes, bytes]],
        tags: Iterable[bytes],
        now: int,
    ) -> Known:
        """What a `Book` needs: of these wallets, of their windows in these tokens and of all
        windows that are due by `now`, of the owners of these tags, and of who referred them.
        """
        known = Known()
        async with guarded():
            ids = [_place(*place) for place in places]
            query = {"$or": [{"_id": {"$in": ids}}, {"closesAt": {"$lte": now}}]}
            async for one in self._windows.find(query):
                window = window_of(one)
                known.windows[window.who, window.token] = window
            codes = {code: tag for tag in tags if (code := code_of(tag))}
            async for one in self._codes.find({"_id": {"$in": list(codes)}}):
                owner = bytes.fromhex(one["owner"][2:])
                known.codes[codes[one["_id"]]] = (owner, int(one["createdAt"].timestamp()))
            wanted = {*wallets, *(window.who for window in known.windows.values())}
            await self._people(known, wanted | {owner for owner, _ in known.codes.values()})
            async for one in self._wallets.find({"_id": {"$in": [hex_of(w) for w in wanted]}}):
                known.wallets[bytes.fromhex(one["_id"][2:])] = wallet_of(one)
        return known

    async def commit(self, book: Book, known: Known, *, before: Counted, after: Counted) -> bool:
        """Adds the rows and moves the cursor from `before` to `after`. False: it did not stand
        there, nothing was written. After a TransientError either may be so; ask `counted`.
        """
        session = self._session
        assert session is not None, "claim() comes first"
        async with guarded(), await session.start_transaction():
            moved = await self._cursors.update_one(
                {"_id": self._chain_id, "block": before.block, "time": before.time},
                {"$set": {"block": after.block, "time": after.time}},
                session=session,
            )
            if moved.matched_count == 0:
                await session.abort_transaction()
                return False
            await self._add_entries(book.entries, session)
            await self._add_owed(book.owed, session)
            await self._remember(book, known, session)
        return True

    async def bridged(self) -> int:
        """The number of the last transfer between the chains that is in the ledger."""
        async with guarded():
            found = await self._cursors.find_one({"_id": self._bridge})
        return int(found["seq"]) if found else 0

    async def commit_bridged(self, book: Book, *, before: int, after: int) -> bool:
        """Adds the rows of transfers up to number `after`. False: the last one counted was not
        `before`, nothing was written. After a TransientError either may be so; ask `bridged`.
        """
        session = self._session
        assert session is not None, "claim() comes first"
        async with guarded(), await session.start_transaction():
            moved = await self._cursors.update_one(
                {"_id": self._bridge, "seq": before}, {"$set": {"seq": after}}, session=session
            )
            if moved.matched_count == 0:
                await session.abort_transaction()
                return False
            await self._add_entries(book.entries, session)
        return True

    # -------------------------------------------------------------------- private

    async def _people(self, known: Known, wanted: set[bytes]) -> None:
        for _ in range(UPWARDS + 1):
            missing = [hex_of(wallet) for wallet in wanted - known.people.keys()]
            if not missing:
                return
            wanted = set()
            fields = {"createdAt": 1, "referral": 1}
            async for one in self._users.find({"_id": {"$in": missing}}, fields):
                person = person_of(one)
                known.people[bytes.fromhex(one["_id"][2:])] = person
                if person.referrer is not None:
                    wanted.add(person.referrer)

    async def _add_entries(self, entries: Sequence[Entry], session: "AsyncClientSession") -> None:
        if not entries:
            return
        balances = await self._balances_of(entries, session)
        documents = []
        for entry in entries:
            balance = balances[_balance(entry.season, entry.who)]
            row = row_of(entry)
            balance["rows"] += 1
            balance["micro"] += entry.micro
            balance["by"][entry.rule] = balance["by"].get(entry.rule, 0) + entry.micro
            balance["chain"] = merkle.chained(bytes(balance["chain"]), canonical(row))
            place = {"n": balance["rows"], "total": balance["micro"], "chain": balance["chain"]}
            documents.append(row | {"_id": row["key"], "day": entry.day} | place)
        await self._ledger.insert_many(documents, session=session)
        sums: dict[str, int] = {}
        for entry in entries:
            sums[entry.season] = sums.get(entry.season, 0) + entry.micro
        await self._totals.bulk_write(
            [
                UpdateOne({"_id": season}, {"$inc": {"micro": micro}}, upsert=True)
                for season, micro in sums.items()
            ],
            session=session,
        )
        await self._balances.bulk_write(
            [ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in balances.values()],
            session=session,
        )

    async def _balances_of(
        self, entries: Sequence[Entry], session: "AsyncClientSession"
    ) -> dict[str, "Document"]:
        found: dict[str, Document] = {
            _balance(one.season, one.who): {
                "_id": _balance(one.season, one.who),
                "season": one.season,
                "who": hex_of(one.who),
                "rows": 0,
                "micro": 0,
                "by": {},
                "chain": bytes(32),
            }
            for one in entries
        }
        async for one in self._balances.find({"_id": {"$in": list(found)}}, session=session):
            found[one["_id"]] = one
        return found

    async def _add_owed(self, owed: Sequence[Owed], session: "AsyncClientSession") -> None:
        if not owed:
            return
        await self._owed.insert_many([_owed(one) for one in owed], session=session)
        await self._owed_totals.bulk_write(
            [
                UpdateOne(
                    {"_id": hex_of(one.who)},
                    {"$inc": {"wei": Decimal128(str(one.wei)), "rows": 1}},
                    upsert=True,
                )
                for one in owed
            ],
            session=session,
        )

    async def _remember(self, book: Book, known: Known, session: "AsyncClientSession") -> None:
        wallets = [
            ReplaceOne({"_id": hex_of(who)}, _of_wallet(known.wallets[who]), upsert=True)
            for who in sorted(book.touched)
        ]
        windows: list[Any] = [DeleteOne({"_id": _place(*place)}) for place in book.closed]
        windows += [
            ReplaceOne({"_id": _place(*place)}, _of_window(window), upsert=True)
            for place, window in known.windows.items()
        ]
        if wallets:
            await self._wallets.bulk_write(wallets, session=session)
        if windows:
            await self._windows.bulk_write(windows, session=session)


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry as everybody is shown it, and as it is hashed."""
    return {
        "key": entry.key,
        "rule": entry.rule,
        "version": entry.version,
        "season": entry.season,
        "who": hex_of(entry.who),
        "micro": entry.micro,
        "time": entry.time,
        "because": entry.because,
        "token": hex_of(entry.token) if entry.token else None,
        "facts": dict(entry.facts),
    }


def canonical(row: dict[str, Any]) -> bytes:
    """The bytes of a row that are hashed: JSON with sorted keys and nothing between."""
    return json.dumps(row, separators=(",", ":"), sort_keys=True).encode()


def code_of(tag: bytes) -> str:
    """The code in a trade's tag: ASCII, left-aligned; empty for anything else."""
    text = tag.rstrip(b"\0")
    return text.decode().lower() if text.isalnum() and text.isascii() else ""


def _place(who: bytes, token: bytes) -> str:
    return f"{who.hex()}:{token.hex()}"


def _balance(season: str, who: bytes) -> str:
    return f"{season}:{who.hex()}"


def person_of(one: "Document") -> Person:
    """A user as the book knows him."""
    referral = one.get("referral") or {}
    by = referral.get("by")
    return Person(
        since=int(one["createdAt"].timestamp()),
        referrer=bytes.fromhex(by[2:]) if by else None,
        bound_at=int(referral["at"].timestamp()) if by else 0,
    )


def window_of(one: "Document") -> Window:
    """A window as it was kept."""
    who, token = (bytes.fromhex(part) for part in one["_id"].split(":"))
    return Window(
        who=who,
        token=token,
        opened_at=one["openedAt"],
        closes_at=one["closesAt"],
        net=int(one["net"]),
        gross=int(one["gross"]),
        trades=one["trades"],
        because=one["because"],
        version=one["version"],
    )


def _of_window(window: Window) -> "Document":
    # Wei as text: MongoDB's integers end at 9.2 ETH.
    return {
        "who": hex_of(window.who),
        "openedAt": window.opened_at,
        "closesAt": window.closes_at,
        "net": str(window.net),
        "gross": str(window.gross),
        "trades": window.trades,
        "because": window.because,
        "version": window.version,
    }


def wallet_of(one: "Document") -> Wallet:
    """What was remembered of a wallet."""
    return Wallet(
        streak_day=one["streakDay"],
        streak=one["streak"],
        creation_day=one["creationDay"],
        creations=one["creations"],
        volume=int(one["volume"]),
        referred_at=one["referredAt"],
        shared=int(one["shared"]),
    )


def _of_wallet(wallet: Wallet) -> "Document":
    return {
        "streakDay": wallet.streak_day,
        "streak": wallet.streak,
        "creationDay": wallet.creation_day,
        "creations": wallet.creations,
        "volume": str(wallet.volume),
        "referredAt": wallet.referred_at,
        "shared": str(wallet.shared),
    }


def _owed(one: Owed) -> "Document":
    return {
        "_id": one.key,
        "version": one.version,
        "who": hex_of(one.who),
        "referee": hex_of(one.referee),
        "level": one.level,
        "wei": str(one.wei),
        "time": one.time,
        "because": one.because,
        "token": hex_of(one.token),
    }
