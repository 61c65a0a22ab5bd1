"""Ends queued messages for an operator, with the guardian's key, and never in the way of a pause.

The guardian has one nonce at a time on each chain. In order:
  1. a message that has an end already is not touched: cancelled is what was asked for;
  2. while there is an alarm, or a pause is asked for, nothing is cancelled;
  3. a pause that comes while a cancel waits to be mined takes its nonce, above its price: one of
     the two is mined with it, and the pause again if that was not it;
  4. whatever becomes of the transaction, the vault has the last word on what is answered.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from actors.bridge_ports import CheckedVault, Deposits, Guardian, GuardianMined
from actors.ports import Log
from engine.bridge.control import CancelQueued
from engine.bridge.messages import Fate, Message
from engine.errors import CallerError, RiseCurveError, TransientError

CANCEL_GAS = 200_000
"""Several times what one fate and its event take."""


class End(Protocol):
    """`actors.bridge_checker.CheckedEnd`, as far as it is used."""

    @property
    def chain_id(self) -> int: ...
    @property
    def vault(self) -> CheckedVault: ...
    @property
    def deposits(self) -> Deposits: ...
    @property
    def guardian(self) -> Guardian: ...


class Cancelling:
    """Plain class. `must_wait` says whether a pause is wanted; who begins one calls `give_up`."""

    def __init__(
        self,
        *,
        ends: Mapping[int, End],
        cancel: Callable[[Message], bytes],
        must_wait: Callable[[], bool],
        log: Log,
    ) -> None:
        self._ends = ends
        self._cancel = cancel
        self._must_wait = must_wait
        self._log = log
        self._sending: set[asyncio.Future[GuardianMined]] = set()

    async def queued(self, asked: CancelQueued) -> int:
        """The answer to `CancelQueued`, and its errors."""
        message = await self._message(asked.id)
        target = self._ends[message.target_chain]
        fate = await target.vault.fate(asked.id)
        if fate is Fate.QUEUED:
            self._log.error("bridge_cancel_asked", message=asked.id.hex())
            fate = await self._fate_after(target, message)
        if fate is Fate.QUEUED:
            raise TransientError("not_cancelled", "Expected the vault to cancel it, it is queued")
        if fate is not Fate.CANCELLED:
            raise CallerError("invalid_request", f"Expected a queued message, was {fate.name}")
        return target.chain_id

    def give_up(self) -> None:
        """Leave the guardian's nonces to a pause."""
        for sending in self._sending:
            sending.cancel()

    # -------------------------------------------------------------------- private

    async def _message(self, message_id: bytes) -> Message:
        for end in self._ends.values():
            found = await end.deposits.message(message_id)
            if found is not None and found.target_chain in self._ends:
                return found
        raise CallerError("not_found", "Expected a message that was deposited at one of the vaults")

    async def _fate_after(self, target: End, message: Message) -> Fate:
        try:
            mined = await self._sent(target, self._cancel(message))
        except RiseCurveError:
            # Not mined as far as was seen; it may have been, or somebody else's.
            fate = await target.vault.fate(message.id)
            if fate is Fate.QUEUED:
                raise
            return fate
        # A node behind the one that gave the receipt would still call it queued.
        return Fate.CANCELLED if mined.status == 1 else await target.vault.fate(message.id)

    async def _sent(self, target: End, data: bytes) -> GuardianMined:
        if self._must_wait():
            raise TransientError("bridge_pausing", "Expected no alarm and no pause that is wanted")
        to = target.vault.address
        sending = asyncio.ensure_future(target.guardian.send(to=to, data=data, gas=CANCEL_GAS))
        self._sending.add(sending)
        try:
            await asyncio.wait([sending])
        finally:
            self._sending.discard(sending)
            sending.cancel()
        if sending.cancelled():
            raise TransientError("bridge_pausing", "Expected no pause while it waited to be mined")
        return sending.result()
