"""Submitting a signed transaction, and what became of it. Repeatable by its hash.

The cases, in the order of the code:
  1. it is not ours to send (other chain, other contract, unknown call): refused;
  2. it is mined already: its state, nothing is sent;
  3. it would revert or cannot be paid: refused before anything is written or sent;
  4. PENDING is written first, then it is sent: a crash between leaves a row that the
     recorder settles, never a sent transaction that nobody knows;
  5. mined in time: its state with the fill; else it waits, and `state` tells later.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chain.transactions import RawTransaction, admit, decode_raw
from curves.curve import AMOUNT_MAX
from engine.errors import CallerError, RiseCurveError, TransientError
from engine.rows import TransactionRecord
from engine.settings import ChainSettings
from engine.text import address, hex_of, price, units
from gateway.fills import created_token, fill_data, fill_of, named_tokens
from gateway.launches import Launches
from gateway.ports import Node, Reads, Receipt
from gateway.replica_ports import Replicas

MINED_WAIT_S = 3.0
"""How long a submit waits for its receipt: three blocks."""

PENDING, CONFIRMED, FAILED = "PENDING", "CONFIRMED", "FAILED"

# The seed's transaction type of each action; a fee claim or a graduation is none of them and
# gets no row.
_TYPES = {
    "create": "CREATE",
    "buy": "BUY",
    "buyExactOut": "BUY",
    "sell": "SELL",
    "sellExactOut": "SELL",
}
# 32-byte words of a call's fixed part; anything shorter cannot be that call.
_WORDS = {
    "create": 9,
    "buy": 5,
    "buyExactOut": 6,
    "sell": 6,
    "sellExactOut": 6,
    "graduate": 1,
    "reopen": 1,
    "claimProtocolFees": 1,
    "claimCreatorFees": 1,
}


@dataclass(frozen=True, slots=True)
class Intent:
    """What a raw transaction wants: as far as its calldata says."""

    type: str | None
    token: bytes | None
    eth: int | None
    tokens: int | None


class Submission:
    """Raises CallerError, and TransientError when node or store are away."""

    def __init__(
        self,
        *,
        node: Node,
        reads: Reads,
        chain: ChainSettings,
        launches: Launches,
        replicas: Replicas | None = None,
    ) -> None:
        self._node = node
        self._reads = reads
        self._chain = chain
        self._launches = launches
        self._replicas = replicas
        self._launchpads = frozenset(launchpad.address for launchpad in chain.launchpads)

    async def submit(self, raw: bytes) -> dict[str, Any]:
        """The transaction's state after sending it. `status` PENDING: not mined yet."""
        transaction = decode_raw(raw)
        admit(transaction, self._chain)
        _check_call(transaction)
        mined = await self._node.receipt(transaction.hash)
        intent = await self._intent(transaction)
        if mined is None:
            await self._simulate(transaction)
            await self._write_pending(transaction, intent)
            mined = await self._send(transaction, raw)
        if mined is None:
            return _pending(transaction, intent)
        return await self._of_receipt(mined, user=transaction.sender, intent=intent)

    async def state(self, tx_hash: bytes) -> dict[str, Any]:
        """What became of a transaction: recorded, else by its receipt.

        Raises CallerError("not_found") when neither store nor node know it.
        """
        records = await self._reads.transaction(tx_hash)
        if any(record.status != PENDING for record in records):
            for one in records:
                self._mined({one.token} if one.token else (), one.block_number)
            return _recorded(records)
        receipt = await self._node.receipt(tx_hash)
        if receipt is not None:
            waiting = records[0] if records else None
            intent = Intent(*_known(waiting)) if waiting else Intent(None, None, None, None)
            return await self._of_receipt(
                receipt, user=waiting.user if waiting else None, intent=intent
            )
        if records:
            return _recorded(records)
        raise CallerError("not_found", f"Expected a known transaction, was {hex_of(tx_hash)}")

    async def _intent(self, transaction: RawTransaction) -> Intent:
        type_ = _TYPES.get(transaction.action or "")
        if transaction.action == "create":
            if transaction.to != self._chain.launchpad.address:
                # An older launchpad clones another implementation: its receipt names the token.
                return Intent(type_, None, _bounded(transaction.value), None)
            # params is a tuple behind one offset word: name, symbol, metadataHash, salt, …
            salt = _word_bytes(transaction.data, 4)
            token = await self._launches.address(transaction.sender, salt)
            return Intent(type_, token, _bounded(transaction.value), None)
        if type_ is None:
            return Intent(None, None, None, None)
        token, amount = _word_bytes(transaction.data, 0)[12:], _word(transaction.data, 1)
        by_action = {
            "buy": (transaction.value, None),
            "buyExactOut": (None, amount),
            "sell": (None, amount),
            "sellExactOut": (amount, None),
        }
        eth, tokens = by_action[transaction.action or ""]
        return Intent(type_, token, _bounded(eth), _bounded(tokens))

    async def _simulate(self, transaction: RawTransaction) -> None:
        assert transaction.to is not None, "Expected a call of a launchpad"
        _, nonce = await asyncio.gather(
            self._node.call(
                to=transaction.to,
                data=transaction.data,
                sender=transaction.sender,
                value=transaction.value,
            ),
            self._node.nonce(transaction.sender),
        )
        # The pending count includes this very transaction when it was sent before.
        if transaction.nonce + 1 < nonce:
            raise CallerError(
                "invalid_request", f"Expected nonce {nonce}, was {transaction.nonce}: used already"
            )

    async def _write_pending(self, transaction: RawTransaction, intent: Intent) -> None:
        if intent.type is not None:
            await self._reads.add_pending(
                tx_hash=transaction.hash,
                user=transaction.sender,
                token=intent.token,
                type=intent.type,
                eth_amount=intent.eth,
                token_amount=intent.tokens,
            )

    async def _send(self, transaction: RawTransaction, raw: bytes) -> Receipt | None:
        try:
            return await self._node.send_raw_sync(raw, MINED_WAIT_S)
        except CallerError as error:
            await self._reads.refuse_pending(transaction.hash, error.message)
            raise
        except TransientError:
            # Whether it went out is unknown; if it did, that is what the caller must hear.
            found = await self._node.receipt(transaction.hash)
            if found is None:
                raise
            return found

    async def _of_receipt(
        self, receipt: Receipt, *, user: bytes | None, intent: Intent
    ) -> dict[str, Any]:
        failed = receipt.status != 1
        if not failed:
            self._mined(named_tokens(receipt.logs, self._launchpads), receipt.block_number)
        fill = None if failed else fill_of(receipt.logs, self._launchpads)
        created = None if failed else created_token(receipt.logs, self._launchpads)
        type_ = intent.type
        if type_ is None and (created or fill):
            type_ = "CREATE" if created else ("BUY" if fill and fill.is_buy else "SELL")
        token = created or (fill.token if fill else intent.token)
        user = user or (fill.trader if fill else None)
        return _state(
            tx_hash=receipt.tx_hash,
            status=FAILED if failed else CONFIRMED,
            type_=type_,
            user=user,
            token=token,
            block_number=receipt.block_number,
            gas_fee=receipt.gas_used * receipt.effective_gas_price,
            reason=await self._reason(receipt) if failed else None,
            fill=fill_data(fill) if fill else None,
        )

    def _mined(self, tokens: Iterable[bytes], block_number: int | None) -> None:
        # Who reads of it asks for a quote next, which must have it.
        if self._replicas is not None and block_number is not None:
            for token in tokens:
                self._replicas.mined(token, block_number)

    async def _reason(self, receipt: Receipt) -> str | None:
        try:
            return await self._node.revert_reason(receipt.tx_hash)
        except RiseCurveError:
            return None


def _check_call(transaction: RawTransaction) -> None:
    words = _WORDS[transaction.action or ""]
    if len(transaction.data) < 4 + 32 * words:
        raise CallerError(
            "invalid_request", f"Expected the arguments of {transaction.action}, was less"
        )


def _word_bytes(data: bytes, index: int) -> bytes:
    return data[4 + 32 * index : 36 + 32 * index]


def _word(data: bytes, index: int) -> int:
    return int.from_bytes(_word_bytes(data, index), "big")


def _bounded(amount: int | None) -> int | None:
    return amount if amount is None or amount <= AMOUNT_MAX else None


def _known(record: TransactionRecord) -> tuple[str, bytes | None, int | None, int | None]:
    return record.type, record.token, record.eth_amount, record.token_amount


def _pending(transaction: RawTransaction, intent: Intent) -> dict[str, Any]:
    return _state(
        tx_hash=transaction.hash,
        status=PENDING,
        type_=intent.type,
        user=transaction.sender,
        token=intent.token,
        block_number=None,
        gas_fee=None,
        reason=None,
        fill=None,
    )


def _recorded(records: Sequence[TransactionRecord]) -> dict[str, Any]:
    first = records[0]
    trades = [one for one in records if one.type in ("BUY", "SELL") and one.status == CONFIRMED]
    return _state(
        tx_hash=first.tx_hash,
        status=first.status,
        type_=first.type,
        user=first.user,
        token=first.token,
        block_number=first.block_number,
        gas_fee=next((one.gas_fee for one in records if one.gas_fee is not None), None),
        reason=first.reason,
        fill=_recorded_fill(trades[-1]) if trades else None,
    )


def _recorded_fill(record: TransactionRecord) -> dict[str, object]:
    return {
        "tokenAddress": None if record.token is None else address(record.token),
        "type": record.type,
        "tokenAmount": units(record.token_amount or 0),
        "ethAmount": units(record.eth_amount or 0),
        "pricePerToken": None if record.price_e18 is None else price(record.price_e18),
    }


def _state(
    *,
    tx_hash: bytes,
    status: str,
    type_: str | None,
    user: bytes | None,
    token: bytes | None,
    block_number: int | None,
    gas_fee: int | None,
    reason: str | None,
    fill: dict[str, object] | None,
) -> dict[str, Any]:
    return {
        "txHash": hex_of(tx_hash),
        "status": status,
        "type": type_,
        "userAddress": None if user is None else address(user),
        "tokenAddress": None if token is None else address(token),
        "blockNumber": block_number,
        "gasFee": None if gas_fee is None else units(gas_fee),
        "reason": reason,
        "fill": fill,
    }
