"""An account that pays for the system's own transactions, one nonce at a time.

Everything it sends must be harmless when it is mined twice, or refused the second time.
One nonce is used at a time, the first that no block holds: so whatever a crashed process
left behind is replaced, not queued behind, and of all that is sent with one nonce at most
one is mined. A caller that gives up, by cancelling its task, leaves its nonce to the next, which
begins above what was offered for it. The cases of a round, in order:
  1. mined: its receipt;
  2. not yet: the same nonce again with higher fees, `FEE_STEP_BPS` more of both;
  3. the nonce went to something else: TransientError, the caller looks at the chain again.
"""

import asyncio
from typing import Protocol

from chain.account import TransactionAccount
from engine.errors import CallerError, TransientError

FEE_STEP_BPS = 1_250
"""Nodes ask for 10 % more of both fees before they replace a transaction."""

FEE_CAP_WEI = 2_000 * 10**9
"""A gas; above it the last offer stands."""

ROUNDS = 5
BPS = 10_000
_REPLACEMENT = ("underpriced", "replacement")
_USED = ("nonce too low", "nonce is too low", "already used")


class Mined(Protocol):
    """A receipt, as far as it is used."""

    @property
    def tx_hash(self) -> bytes: ...
    @property
    def status(self) -> int: ...


class Node(Protocol):
    """`chain.sender.Node`, as far as it is used."""

    async def fees(self) -> tuple[int, int]: ...
    async def nonce(self, address: bytes, *, mined: bool = False) -> int: ...
    async def balance(self, address: bytes) -> int: ...
    async def receipt(self, tx_hash: bytes) -> Mined | None: ...
    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> Mined | None: ...


class Payer:
    """`send` one at a time; a second call waits for the first."""

    def __init__(self, node: Node, *, private_key: str, chain_id: int, wait_s: float) -> None:
        self._node = node
        self._account = TransactionAccount(private_key, chain_id=chain_id)
        self._wait_s = wait_s
        self._one_at_a_time = asyncio.Lock()
        self._given_up: tuple[int, tuple[int, int]] | None = None
        self._offered_fees = (0, 0)
        self.replaced = 0

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return self._account.address

    async def balance(self) -> int:
        """Wei."""
        return await self._node.balance(self.address)

    async def send(self, *, to: bytes, data: bytes, gas: int, value: int = 0) -> Mined:
        """The receipt, of success or revert, within `ROUNDS` times `wait_s` of seconds.

        Raises CallerError when the node refuses for good (no ETH for gas), TransientError
        when it is away, nothing was mined in time, or the nonce went elsewhere; what was
        sent may still be mined then.
        """
        async with self._one_at_a_time:
            return await self._send(to=to, data=data, gas=gas, value=value)

    async def _send(self, *, to: bytes, data: bytes, gas: int, value: int) -> Mined:
        nonce = await self._node.nonce(self.address, mined=True)
        fees = await self._node.fees()
        given_up, self._given_up = self._given_up, None
        if given_up is not None and given_up[0] == nonce:
            # It may still be in the nodes' pools. What was not mined in its rounds is no reason to
            # begin higher: nobody mines then, and each call would offer more than the last.
            fees = raised(given_up[1], fees)
        self._offered_fees = fees
        try:
            return await self._rounds(
                to=to, data=data, gas=gas, value=value, nonce=nonce, fees=fees
            )
        except asyncio.CancelledError:
            self._given_up = nonce, self._offered_fees
            raise
        except Exception:
            # What was given up before is still to be beaten, for as long as its nonce is free.
            self._given_up = given_up
            raise

    async def _rounds(
        self,
        *,
        to: bytes,
        data: bytes,
        gas: int,
        value: int,
        nonce: int,
        fees: tuple[int, int],
    ) -> Mined:
        sent: list[bytes] = []
        for _ in range(ROUNDS):
            raw, tx_hash = self._account.sign(
                to=to, data=data, gas=gas, value=value, nonce=nonce, fees=fees
            )
            sent.append(tx_hash)
            self._offered_fees = fees
            mined = await self._offered(raw) or await self._any_of(sent)
            if mined is not None:
                return mined
            if await self._node.nonce(self.address, mined=True) > nonce:
                # Between the two looks one of ours may have been mined after all.
                mined = await self._any_of(sent)
                if mined is not None:
                    return mined
                raise TransientError("nonce_used", f"Expected nonce {nonce} to be free")
            self.replaced += 1
            fees = raised(fees, await self._node.fees())
        raise TransientError("not_mined", f"Expected nonce {nonce} mined in {ROUNDS} rounds")

    async def _offered(self, raw: bytes) -> Mined | None:
        try:
            return await self._node.send_raw_sync(raw, self._wait_s)
        except CallerError as error:
            said = error.message.lower()
            if any(words in said for words in _USED):
                return None
            if any(words in said for words in _REPLACEMENT):
                # Another, of an earlier process perhaps, holds the nonce at a higher price.
                return None
            raise

    async def _any_of(self, hashes: list[bytes]) -> Mined | None:
        for tx_hash in hashes:
            mined = await self._node.receipt(tx_hash)
            if mined is not None:
                return mined
        return None


def raised(last: tuple[int, int], present: tuple[int, int]) -> tuple[int, int]:
    """(max fee, priority fee) in wei a gas of a replacement: a step above `last` in both, or
    what the node asks for now where that is more; at most FEE_CAP_WEI.
    """
    stepped = [-(-fee * (BPS + FEE_STEP_BPS) // BPS) for fee in last]
    max_fee = min(max(stepped[0], present[0]), FEE_CAP_WEI)
    return max_fee, min(max(stepped[1], present[1], 1), max_fee)
