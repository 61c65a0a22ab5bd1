"""The relayer's transactions: nonces reserved before anything is sent, every hash kept.

One row a nonce of an account, for one request for ever; reserving is serialised by a lock on
the account, so that two relayers with the same key never use one nonce for two requests.
"""

from typing import TYPE_CHECKING

import asyncpg

from engine.bridge.requests import Key
from engine.bridge.sends import Fees, Offer, Outcome, Send, Settle
from engine.errors import ConsistencyError
from storage import postgres
from storage.bridge import SQL

if TYPE_CHECKING:
    from asyncpg import Record

    from storage.postgres import Pool

WAITING_MAX = 32
"""Nonces that wait for a block: nodes keep 16 to 64 of one account in their pool."""

SMALL_SHARE = 4
"""One in so many of them may go to what is below the least that the doors take."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"


class BridgeSends:
    """Of any account. All methods raise TransientError (store_unavailable), are repeatable, and
    what they wrote is durable when they return."""

    def __init__(self, pool: "Pool", *, waiting_max: int = WAITING_MAX) -> None:
        self._pool = pool
        self._waiting_max = waiting_max

    async def reserve(self, send: Send, *, small: bool = False) -> int | None:
        """A nonce for this request, at least `send.nonce`, which is what the chain asks for.
        A `small` one leaves most places free.

        None: one is under way for it, it has ended, or too many wait; nothing was written.
        """
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(_LOCK, f"{send.chain_id}:{send.sender.hex()}")
            account = (send.chain_id, send.sender)
            waiting = await connection.fetchval(SQL["waiting_offers"], *account)
            room = self._waiting_max // SMALL_SHARE if small else self._waiting_max
            if waiting >= room or send.request is None:
                return None
            what = (send.kind, send.to, send.data, send.gas)
            nonce = await connection.fetchval(
                SQL["reserve"], *account, send.nonce, *send.request, *what
            )
            return None if nonce is None else int(nonce)

    async def fill(self, chain_id: int, sender: bytes, nonce: int) -> None:
        """Nobody reserved this nonce and later ones wait behind it: one that does nothing."""
        async with postgres.transaction(self._pool) as connection:
            await connection.execute(_LOCK, f"{chain_id}:{sender.hex()}")
            await connection.execute(SQL["fill"], chain_id, sender, nonce)

    async def open(
        self, chain_id: int, sender: bytes, *, final_number: int, nonce: int
    ) -> list[Send]:
        """Those to look at, by nonce: not seen mined, mined up to `final_number`, or free again
        by the chain's `nonce`.
        """
        async with postgres.session(self._pool) as connection:
            rows = await connection.fetch(SQL["open_sends"], chain_id, sender, final_number, nonce)
        found: dict[int, Send] = {}
        for row in rows:
            known = found.get(row["nonce"])
            found[row["nonce"]] = _send(row, known.offers if known else ())
        return list(found.values())

    async def offer(self, send: Send, tx_hash: bytes, fees: Fees) -> None:
        """This was signed for the nonce and is about to be sent."""
        place = (send.chain_id, tx_hash, send.sender, send.nonce)
        try:
            async with postgres.session(self._pool) as connection:
                await connection.execute(SQL["offer"], *place, fees.max_fee, fees.priority_fee)
        except asyncpg.IntegrityConstraintViolationError as error:
            text = f"Expected an offer of a reserved nonce, was {error}"
            raise ConsistencyError("inconsistent_history", text) from error

    async def mined(self, send: Send, block_number: int | None) -> None:
        """Where one of its offers was seen, not final yet; None: nowhere any more."""
        place = (send.chain_id, send.sender, send.nonce)
        async with postgres.session(self._pool) as connection:
            await connection.execute(SQL["mined"], *place, block_number)

    async def settle(self, send: Send, end: Settle) -> bool:
        """How the nonce ended, for good; its request is looked at. False: known already."""
        place = (send.chain_id, send.sender, send.nonce)
        how = (end.outcome.value, end.tx_hash, end.block_number)
        async with postgres.transaction(self._pool) as connection:
            row = await connection.fetchrow(SQL["settle"], *place, *how)
            if row is None:
                return False
            key = (row["source_chain"], row["version"], row["request_id"])
            await connection.execute(
                SQL["wake_request"], *key, end.outcome is not Outcome.SUCCEEDED
            )
        return True


def _send(row: "Record", before: tuple[Offer, ...]) -> Send:
    request: Key | None = None
    if row["request_id"] is not None:
        request = row["source_chain"], row["version"], row["request_id"]
    offers, waited_s = before, 0.0
    if row["tx_hash"] is not None:
        offers = (*before, Offer(row["tx_hash"], Fees(row["max_fee"], row["priority_fee"])))
        waited_s = row["waited_s"]
    return Send(
        chain_id=row["chain_id"],
        sender=row["sender"],
        nonce=row["nonce"],
        request=request,
        kind=row["kind"],
        to=row["to_address"],
        data=row["data"],
        gas=row["gas"],
        offers=offers,
        waited_s=waited_s,
        mined_block=row["mined_block"],
    )
