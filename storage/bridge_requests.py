"""The bridge's requests: which are due, what is known of each, and how they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from engine import codec
from engine.bridge.line import NOT_FOR_ROOM, Eldest
from engine.bridge.messages import Message
from engine.bridge.requests import Action, Decision, Facts, Key, Request, Seen
from engine.errors import CallerError
from engine.limits import BRIDGE_INTENTS_MAX
from storage import bridge_outbox, postgres
from storage.bridge import SQL

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Connection, Pool

LEASE_S = 5.0
"""A relayer that took a request and died leaves it to the others after so long."""


@dataclass(slots=True)
class _Known:
    message: Message | None = None
    seen: dict[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Cursor:
    time: int
    final: int


class BridgeRequests:
    """All methods raise TransientError (store_unavailable)."""

    def __init__(self, pool: "Pool", *, lease_s: float = LEASE_S) -> None:
        self._pool = pool
        self._lease_s = lease_s

    async def open(
        self,
        key: Key,
        *,
        target_chain: int,
        user: bytes,
        recipient: bytes,
        amount_wei: int,
        asked_key: bytes | None = None,
    ) -> bytes:
        """A request of the doors; its deposit is met by `user` and the id. Its id: that of `key`,
        or of the one that the wallet asked for with `asked_key` before. Repeatable; of those that
        are asked for at once exactly as many are written as there is room for.

        Raises CallerError: idempotency_conflict where the id or `asked_key` was for something else,
        or has met its deposit; rate_limited where too many of the wallet's wait for theirs.
        """
        async with postgres.transaction(self._pool) as connection:
            # Before anything is read: what is read after it is as the one before left it.
            await connection.execute(SQL["lock_intents"], user)
            before = await connection.fetchrow(SQL["asked_before"], *key, user, asked_key)
            if before is None:
                what = (target_chain, user, recipient, amount_wei)
                await self._open_new(connection, key, (*what, asked_key))
                return key[2]
            id, *asked = before
            if tuple(asked) != (target_chain, user, recipient, amount_wei, None):
                text = "Expected the transfer that this key was used for, and no deposit of it yet"
                raise CallerError("idempotency_conflict", text)
            return bytes(id)

    async def _open_new(
        self,
        connection: "Connection",
        key: Key,
        what: tuple[int, bytes, bytes, int, bytes | None],
    ) -> None:
        target, user, *_ = what
        chains = [key[0], target]
        waiting = await connection.fetchval(SQL["intents"], chains, user, BRIDGE_INTENTS_MAX)
        if waiting >= BRIDGE_INTENTS_MAX:
            text = f"Expected fewer than {BRIDGE_INTENTS_MAX} transfers without a deposit"
            raise CallerError("rate_limited", text)
        await connection.execute(SQL["insert_user"], user)
        await connection.execute(SQL["open_request"], *key, *what)

    async def due(self, limit: int, *, least_wei: int = 0) -> list[tuple[Request, Facts]]:
        """At most `limit` requests to look at now, with all that is recorded of them, as of one
        instant; those below `least_wei` last. They are due again after the lease, unless `advance`
        or `end` says otherwise.
        """
        async with postgres.transaction(self._pool) as connection:
            rows = await connection.fetch(SQL["lease"], limit, self._lease_s, least_wei)
        rows.sort(key=lambda row: bool(row["amount"] < least_wei))
        if not rows:
            return []
        async with (
            postgres.session(self._pool) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await _with_facts(connection, rows)

    async def eldest(self) -> list[Eldest]:
        """Of each vault at which something waits for room, what has waited longest."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(SQL["eldest"], NOT_FOR_ROOM)
        return [
            Eldest(row["chain_id"], _key(row, "id"), int(row["amount"]), row["since"], row["now"])
            for row in rows
        ]

    async def advance(
        self, request: Request, decision: Decision, *, attempts: int, pause_s: float
    ) -> None:
        """Where it is now; looked at again after `pause_s`, or at once if more is known by now."""
        state = (decision.status, decision.step.value, decision.reason)
        async with postgres.session(self._pool) as connection:
            await connection.execute(
                SQL["advance"], *request.key, *state, attempts, pause_s, request.revision
            )

    async def end(self, request: Request, decision: Decision) -> bool:
        """It ended for good, and its row of the outbox is there, in one transaction. False:
        more is known by now, look again.
        """
        state = (decision.status, decision.step.value, decision.reason)
        async with postgres.transaction(self._pool) as connection:
            await bridge_outbox.lock(connection)
            row = await connection.fetchrow(SQL["end"], *request.key, *state, request.revision)
            if row is None:
                return False
            if row["message_id"] is not None:
                await bridge_outbox.add(connection, request.key, decision.status, row=row)
        return True

    async def retry(self, key: Key) -> None:
        """Look at it now, whatever pause it has."""
        async with postgres.session(self._pool) as connection:
            await connection.execute(SQL["wake_request"], *key, False)

    async def counts(self) -> list[tuple[str, str, int, int]]:
        """(status, step, requests, age of the oldest in seconds) of those that have not ended."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(SQL["counts"])
        return [(row["status"], row["step"], row["requests"], row["oldest_s"]) for row in rows]


async def _with_facts(
    connection: "Connection", rows: Sequence["Record"]
) -> list[tuple[Request, Facts]]:
    cursors = {
        row["chain_id"]: _Cursor(
            row["block_time"], min(row["finalised_number"], row["block_number"])
        )
        for row in await connection.fetch(SQL["cursors"])
    }
    messages = [row["message_id"] for row in rows if row["message_id"] is not None]
    known = _known(await connection.fetch(SQL["events_of"], messages), cursors)
    sends = await connection.fetch(SQL["sending"], [row["id"] for row in rows])
    sending = {_key(row, "request_id"): Action(row["kind"]) for row in sends}
    found = []
    for row in rows:
        one = known.get(row["message_id"], _Known())
        cursor = cursors.get(row["target_chain"])
        facts = Facts(
            message=one.message,
            deposit=one.seen.get("Deposited"),
            queued=one.seen.get("Queued"),
            released=one.seen.get("Released"),
            cancelled=one.seen.get("Cancelled"),
            refunded=one.seen.get("Refunded"),
            target_time=cursor.time if cursor else 0,
            sending=sending.get(_key(row, "id")),
            age_s=row["age_s"],
        )
        found.append((_request(row), facts))
    return found


def _known(rows: Sequence["Record"], cursors: Mapping[int, _Cursor]) -> dict[bytes, _Known]:
    found: dict[bytes, _Known] = {}
    for row in rows:
        one = found.setdefault(row["message_id"], _Known())
        final = row["block_number"] <= cursors[row["chain_id"]].final
        one.seen[row["kind"]] = Seen(row["block_number"], row["tx_hash"], final)
        if row["kind"] == "Deposited":
            one.message = codec.decode(Message, orjson.loads(row["payload"])["message"])
    return found


def _request(row: "Record") -> Request:
    return Request(
        key=_key(row, "id"),
        target_chain=row["target_chain"],
        status=row["status"],
        step=row["step"],
        reason=row["reason"],
        attempts=row["attempts"],
        revision=row["revision"],
    )


def _key(row: "Record", name: str) -> Key:
    return row["source_chain"], row["version"], row[name]
