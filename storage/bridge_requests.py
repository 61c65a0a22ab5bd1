"""The bridge's requests: which are due, what is known of each, and how they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from engine import codec
from engine.bridge.messages import Message
from engine.bridge.requests import Action, Decision, Facts, Key, Request, Seen
from engine.errors import CallerError
from engine.limits import BRIDGE_INTENTS_MAX
from storage import postgres
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


@dataclass(frozen=True, slots=True)
class Ended:
    """A transfer that ended for good; `seq` counts them without a gap. `payload` has `message`,
    `user`, `recipient` and hashes as hex, amounts as decimal strings of wei, `paidAt` in seconds of
    the paying chain."""

    seq: int
    key: Key
    status: str
    payload: Mapping[str, Any]


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
    ) -> None:
        """A request of the doors; its deposit is met by `user` and the id. Repeatable.

        Raises CallerError: idempotency_conflict where the id asked for something else, or has met
        its deposit; rate_limited where too many of the wallet's wait for theirs.
        """
        async with postgres.transaction(self._pool) as connection:
            before = await connection.fetchrow(SQL["asked_before"], *key)
            if before is None:
                what = (target_chain, user, recipient, amount_wei)
                await self._open_new(connection, key, what)
            elif tuple(before) != (target_chain, user, recipient, amount_wei, None):
                text = "Expected the transfer that this key was used for, and no deposit of it yet"
                raise CallerError("idempotency_conflict", text)

    async def _open_new(
        self, connection: "Connection", key: Key, what: tuple[int, bytes, bytes, int]
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
            # One at a time, so that the numbers become visible in their order.
            await connection.execute("LOCK TABLE bridge_outbox IN SHARE ROW EXCLUSIVE MODE")
            row = await connection.fetchrow(SQL["end"], *request.key, *state, request.revision)
            if row is None:
                return False
            if row["message_id"] is not None:
                payload = orjson.dumps(_payload(row)).decode()
                await connection.execute(SQL["outbox"], *request.key, decision.status, payload)
        return True

    async def retry(self, key: Key) -> None:
        """Look at it now, whatever pause it has."""
        async with postgres.session(self._pool) as connection:
            await connection.execute(SQL["wake_request"], *key, False)

    async def ended_after(self, seq: int, limit: int) -> list[Ended]:
        """Transfers that ended after number `seq`, in order."""
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(SQL["ended_after"], seq, limit)
        return [
            Ended(row["seq"], _key(row, "request_id"), row["status"], orjson.loads(row["payload"]))
            for row in rows
        ]

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


def _payload(row: "Record") -> dict[str, Any]:
    return {
        "message": row["message_id"].hex(),
        "targetChain": row["target_chain"],
        "user": row["user_address"].hex(),
        "recipient": row["recipient"].hex(),
        "amount": str(row["amount"]),
        "fee": str(row["fee"]),
        "paidAt": row["paid_at"],
        "sourceTx": row["source_tx_hash"].hex(),
        "targetTx": row["target_tx_hash"].hex() if row["target_tx_hash"] else None,
        "refundTx": row["refund_tx_hash"].hex() if row["refund_tx_hash"] else None,
    }
