"""The doors' part of the bridge: what may be asked for, the transaction for it, and how it is
shown. Nothing here holds anybody's funds or signs anything.

A request is written down before its transaction is handed out, under the id that the deposit
names as its `ref`; with an `Idempotency-Key` that id follows from the key, so that the same
request asked for twice is one transfer even where the first answer was lost.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chain.transactions import unsigned as transaction_of
from engine.bridge.transfers import Cursor, Mined, Offer, Terms, Transfer, offer, seconds_left, told
from engine.control import Directory
from engine.errors import CallerError, TransientError
from engine.text import address, hex_of, units
from gateway import people, unsigned
from gateway.bridge_ports import BridgeEnd, BridgePorts
from gateway.kept import Kept

VERSION = 1
"""Of both vaults."""

TERMS_KEPT_S = 1.0
TERMS_TIMEOUT_S = 3.0
DEPOSIT_GAS = 200_000
"""Measured: 138,000 the first time that a wallet deposits."""

EXPIRES_S = 86_400
PAUSE_TIMEOUT_S = 20.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where."""

    source: BridgeEnd
    target: BridgeEnd


class Bridge:
    """`route` is told who runs; the rest raises CallerError and TransientError as said."""

    def __init__(self, ports: BridgePorts) -> None:
        self._ports = ports
        self._checkers: tuple[str, ...] = ()
        self._runs = False
        self.deposit = Way(ports.sepolia, ports.rise)
        self.withdrawal = Way(ports.rise, ports.sepolia)
        self._terms = {
            end.chain.chain_id: Kept(end.terms, seconds=TERMS_KEPT_S)
            for end in (ports.rise, ports.sepolia)
        }

    def route(self, directory: Directory) -> None:
        """Who is there now."""
        self._checkers = tuple(one.name for one in directory.named("bridge_checker"))
        self._runs = bool(directory.named("relayer"))

    @property
    def requests(self) -> Any:
        """`storage.bridge_reads` and `storage.bridge_requests` together, as a port."""
        return self._ports.requests

    def config(self) -> Json:
        """The vaults, and what is moved at least."""
        ends = {"rise": self._ports.rise, "sepolia": self._ports.sepolia}
        vaults = {name: address(end.vault) for name, end in ends.items()}
        return {"minimum": units(self._ports.minimum_wei)} | vaults

    async def begin(
        self, way: Way, *, user: bytes, recipient: bytes, amount: int, key: str | None
    ) -> Json:
        """A request and the unsigned deposit for it. Raises what `engine.bridge.transfers.offer`
        raises; bridge_unavailable, stale_chain, store_unavailable; idempotency_conflict.
        """
        if not self._runs:
            raise TransientError("bridge_unavailable", "Expected a running relayer")
        source, target = await asyncio.gather(self._asked(way.source), self._asked(way.target))
        least = self._ports.minimum_wei
        found = offer(amount, recipient, source=source, target=target, least=least)
        id = _id(user, source.chain_id, key)
        made = await self._transaction(way, id, user=user, recipient=recipient, amount=amount)
        place = (source.chain_id, VERSION, id)
        await self._ports.requests.open(
            place,
            target_chain=target.chain_id,
            user=user,
            recipient=recipient,
            amount_wei=amount,
        )
        transfer, cursors = await self._ports.requests.one(id)
        if transfer is None:
            raise TransientError("store_unavailable", "Expected the request that was just written")
        return _begun(transfer, cursors, found) | {"transaction": made}

    async def status(self, id: bytes) -> Json:
        """One transfer. Raises CallerError("not_found")."""
        transfer, cursors = await self._ports.requests.one(id)
        if transfer is None:
            raise _unknown()
        return transfer_data(transfer, cursors)

    async def retry(self, id: bytes) -> Json:
        """Have it looked at now. Raises CallerError: not_found, transfer_ended."""
        transfer, cursors = await self._ports.requests.one(id)
        if transfer is None:
            raise _unknown()
        if transfer.ended is not None:
            text = f"Expected a transfer that goes on, was {transfer.step}"
            raise CallerError("transfer_ended", text)
        await self._ports.requests.retry(transfer.key)
        return transfer_data(transfer, cursors, whole=True)

    async def pause(self) -> Json:
        """Both vaults, by the guardian's key, which another process has. Raises
        TransientError("bridge_unavailable"): nobody can now.
        """
        if not self._checkers:
            raise TransientError("bridge_unavailable", "Expected a running checker")
        done = await self._ports.pause(self._checkers[0], PAUSE_TIMEOUT_S)
        return {"chains": [{"chainId": one, "paused": is_so} for one, is_so in done.items()]}

    # -------------------------------------------------------------------- private

    async def _asked(self, end: BridgeEnd) -> Terms:
        try:
            return await asyncio.wait_for(self._terms[end.chain.chain_id].get(), TERMS_TIMEOUT_S)
        except TimeoutError as error:
            text = f"Expected chain {end.chain.chain_id} to answer in {TERMS_TIMEOUT_S:g} s"
            raise TransientError("stale_chain", text) from error

    async def _transaction(
        self, way: Way, id: bytes, *, user: bytes, recipient: bytes, amount: int
    ) -> dict[str, str]:
        max_fee, priority = await unsigned.fees_of(way.source.node)
        data = self._ports.deposit(
            recipient=recipient, target_chain=way.target.chain.chain_id, ref=id
        )
        return transaction_of(
            chain_id=way.source.chain.chain_id,
            sender=user,
            to=way.source.vault,
            data=data,
            value=amount,
            gas=DEPOSIT_GAS,
            max_fee=max_fee,
            max_priority_fee=priority,
        )


def transfer_data(
    transfer: Transfer, cursors: Mapping[int, Cursor], *, whole: bool = False
) -> Json:
    """A transfer as it is shown; hashes and blocks as far as both chains are followed. `whole`
    reasons are for administrators.
    """
    reason: Callable[[str], str | None] = (lambda text: text or None) if whole else told
    source, target = cursors.get(transfer.source_chain), cursors.get(transfer.target_chain)
    fee = transfer.fee
    return {
        "id": hex_of(transfer.key[2]),
        "messageId": None if transfer.message is None else hex_of(transfer.message),
        "status": transfer.status,
        "step": transfer.step,
        "reason": reason(transfer.reason),
        "userAddress": address(transfer.user),
        "targetAddress": address(transfer.recipient),
        "sourceChain": transfer.source_chain,
        "targetChain": transfer.target_chain,
        "amount": units(transfer.amount),
        "fee": None if fee is None else units(fee),
        "receives": None if fee is None else units(transfer.amount - fee),
        "sourceTxHash": _hash(transfer.deposit),
        "targetTxHash": _hash(transfer.payment),
        "refundTxHash": _hash(transfer.refund),
        "source": _mined(transfer.deposit),
        "target": _mined(transfer.payment),
        "refund": _mined(transfer.refund),
        "estimatedSeconds": seconds_left(transfer, source, target),
        "deadline": transfer.deadline,
        "attempts": transfer.attempts,
        "createdAt": people.iso(transfer.created),
        "updatedAt": people.iso(transfer.updated),
        "endedAt": people.iso(transfer.ended),
        "steps": [
            {
                "status": one.status,
                "step": one.step,
                "reason": reason(one.reason),
                "at": people.iso(one.at),
            }
            for one in transfer.steps
        ],
    }


def _begun(transfer: Transfer, cursors: Mapping[int, Cursor], found: Offer) -> Json:
    ends = cursors.get(transfer.source_chain), cursors.get(transfer.target_chain)
    return {
        "id": hex_of(transfer.key[2]),
        "sourceChain": transfer.source_chain,
        "targetChain": transfer.target_chain,
        "targetAddress": address(transfer.recipient),
        "amount": units(transfer.amount),
        "fee": units(found.fee),
        "receives": units(found.receives),
        "queued": found.queued,
        "estimatedSeconds": seconds_left(transfer, *ends),
        "expiresAt": people.iso(transfer.created + EXPIRES_S),
    }


def _id(user: bytes, source: int, key: str | None) -> bytes:
    if key is None:
        return secrets.token_bytes(32)
    return hashlib.sha256(b"bridge %d %s %s" % (source, user.hex().encode(), key.encode())).digest()


def _mined(one: Mined | None) -> Json | None:
    if one is None:
        return None
    return {
        "blockNumber": one.block_number,
        "timestamp": one.block_time,
        "confirmations": one.confirmations,
        "final": one.final,
    }


def _hash(one: Mined | None) -> str | None:
    return None if one is None else hex_of(one.tx_hash)


def _unknown() -> CallerError:
    return CallerError("not_found", "Expected a transfer that was asked for or deposited")
