"""What a vault says when asked, at a block that the caller names."""

import asyncio
from dataclasses import dataclass

from chain import vault
from chain.sender import Node
from engine.bridge.messages import Fate, Message
from engine.bridge.transfers import Terms
from engine.errors import CallerError, TransientError
from engine.text import address as shown

At = int | str
"""A block's number, or a node's tag: "latest", "finalized"."""


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign, in order, and how many must."""

    addresses: tuple[bytes, ...]
    threshold: int
    epoch: int
    set_hash: bytes


@dataclass(frozen=True, slots=True)
class DepositRecord:
    """What the source vault keeps of a message; a zero depositor: it knows none."""

    depositor: bytes
    amount: int
    refunded: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Wei that this vault counted, ever; `liquidity` may fall."""

    liquidity: int
    deposited: int
    released: int
    refunded: int
    unclaimed: int
    fees: int
    fees_claimed: int

    @property
    def pool(self) -> int:
        """What releases, refunds and providers may be paid from."""
        return max(self.liquidity + self.deposited - self.released - self.refunded, 0)


class VaultView:
    """One vault through one node. Trouble is TransientError("stale_chain"), and CallerError where
    the node refuses."""

    def __init__(self, node: Node, *, address: bytes) -> None:
        self._node = node
        self.address = address

    async def fate(self, message_id: bytes, at: At = "latest") -> Fate:
        """Of a message whose target this is."""
        (word,) = await self._asked("fateOf", 1, message_id, at=at)
        try:
            return Fate(word)
        except ValueError as error:
            raise _expected("a fate") from error

    async def deposit(self, message_id: bytes, at: At = "latest") -> DepositRecord:
        """Of a message whose source this is."""
        depositor, amount, refunded = await self._asked("depositOf", 3, message_id, at=at)
        return DepositRecord(depositor.to_bytes(32, "big")[12:], amount, refunded == 1)

    async def signers(self, at: At = "latest") -> Signers:
        """The present set; its hash is worked out here and compared."""
        data = await self._call("signers", at=at)
        words = [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]
        try:
            offset, threshold, epoch, set_hash = words[:4]
            start = offset // 32
            found = words[start + 1 : start + 1 + words[start]]
        except (IndexError, ValueError) as error:
            raise _expected("signers") from error
        addresses = tuple(word.to_bytes(32, "big")[12:] for word in found)
        ours = vault.signer_set(epoch, threshold, addresses)
        if ours != set_hash.to_bytes(32, "big") or not 1 <= threshold <= len(set(addresses)):
            raise _expected("signers of this set")
        return Signers(addresses, threshold, epoch, ours)

    async def window_left(self, at: At = "latest") -> int:
        """Wei that may still leave now."""
        left, _ = await self.window(at)
        return left

    async def window(self, at: At = "latest") -> tuple[int, int]:
        """Wei that may still leave now, and the limit."""
        left, limit = await self._asked("window", 2, at=at)
        return left, limit

    async def totals(self, at: At = "latest") -> Totals:
        """See `Totals`."""
        return Totals(*await self._asked("totals", 7, at=at))

    async def paused(self, at: At = "latest") -> bool:
        """Whether ETH is held."""
        (word,) = await self._asked("paused", 1, at=at)
        return word == 1

    async def terms(self, chain_id: int) -> Terms:
        """What the doors must know of it before somebody deposits here or is paid from here. Raises
        as `minimum` does.
        """
        paused, (left, limit), totals, fee_bps, minimum = await asyncio.gather(
            self.paused(), self.window(), self.totals(), self._fee_bps(), self.minimum(chain_id)
        )
        return Terms(
            chain_id=chain_id,
            vault=self.address,
            paused=paused,
            limit=limit,
            left=left,
            pool=totals.pool,
            fee_bps=fee_bps,
            minimum=minimum,
        )

    async def minimum(self, chain_id: int) -> int:
        """Wei that a deposit is at least. TransientError("bridge_unavailable") of a vault that was
        deployed before there was one: its message names no node.
        """
        try:
            (found,) = await self._asked("minimum", 1, at="latest")
        except CallerError as error:
            # A node that refuses everything says nothing about the vault.
            await self._fee_bps()
            place = f"{shown(self.address)} on chain {chain_id}"
            text = f"Expected a vault with minimum() at {place}, it is older: deploy it anew"
            raise TransientError("bridge_unavailable", text) from error
        return found

    async def _fee_bps(self) -> int:
        (found,) = await self._asked("feeBps", 1, at="latest")
        return found

    async def digest(self, name: str, of: Message | bytes, at: At = "latest") -> bytes:
        """`releaseDigest` of a message or `refundDigest` of an id, as the vault computes it."""
        (word,) = await self._asked(name, 1, of, at=at)
        return word.to_bytes(32, "big")

    async def balance(self, at: At = "latest") -> int:
        """Wei that it holds."""
        return await self._node.balance(self.address, at=at)

    async def _asked(self, name: str, count: int, /, *of: bytes | Message, at: At) -> list[int]:
        data = await self._call(name, *of, at=at)
        if len(data) != 32 * count:
            raise _expected(name)
        return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]

    async def _call(self, name: str, *of: bytes | Message, at: At) -> bytes:
        return await self._node.call(to=self.address, data=vault.view(name, *of), block=at)


def _expected(what: str) -> TransientError:
    return TransientError("stale_chain", f"Expected {what} of a vault from the node")
