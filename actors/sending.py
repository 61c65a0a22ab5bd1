"""One account's transactions on one chain, from the reserved nonce to the final block.

A round reads what the chain says in the order that `engine.bridge.sends` asks for, and does
for each nonce what that decides. The order of a new offer: sign, write the hash down, send. So
whoever dies anywhere in between leaves a nonce whose every hash is known, and the next round,
of anybody, goes on with it. Several may do so at once: what one writes the other reads.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from actors.bridge_ports import Account, BridgeSends, FinalitySource, SendingNode
from actors.ports import Log
from engine.bridge import sends
from engine.bridge.requests import Key
from engine.bridge.sends import Fees, Make, MinedOffer, Outcome, Send, Settle, Sight
from engine.errors import CallerError, RiseCurveError

AT_ONCE = 8
"""Nonces whose receipts are looked for side by side."""


class Sending:
    """Plain class; `reserve` from anywhere, `run` its work. `cap_wei` bounds what a gas may
    cost, `patience_s` how long an offer waits before it is raised."""

    def __init__(
        self,
        *,
        chain_id: int,
        account: Account,
        node: SendingNode,
        finality: FinalitySource,
        store: BridgeSends,
        log: Log,
        cap_wei: int,
        patience_s: float,
        pause_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain_id = chain_id
        self._account = account
        self._node = node
        self._finality = finality
        self._store = store
        self._log = log
        self._cap_wei = cap_wei
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._clock = clock
        self._kick = asyncio.Event()
        self._hole: tuple[int, float] | None = None
        self._troubled = False
        self._counts = {"offers": 0, "raised": 0, "waiting": 0, "filled": 0}
        self._outcomes = dict.fromkeys(Outcome, 0)

    @property
    def address(self) -> bytes:
        """Of the account."""
        return self._account.address

    async def reserve(
        self, key: Key, kind: str, *, to: bytes, data: bytes, gas: int, small: bool = False
    ) -> bool:
        """The intent, durable; it is sent soon after. False: not now."""
        send = Send(
            chain_id=self._chain_id,
            sender=self.address,
            nonce=await self._node.nonce(self.address, mined=True),
            request=key,
            kind=kind,
            to=to,
            data=data,
            gas=gas,
        )
        nonce = await self._store.reserve(send, small=small)
        self._kick.set()
        return nonce is not None

    async def run(self, may: Callable[[], bool]) -> None:
        """A round every pause, and soon after a nonce was reserved, while it `may`."""
        while True:
            if may():
                try:
                    await self.round()
                    self._troubled = False
                except RiseCurveError as error:
                    if not self._troubled:
                        self._log.warning(
                            "sending_trouble", chain_id=self._chain_id, error=str(error)
                        )
                    self._troubled = True
            try:
                async with asyncio.timeout(self._pause_s):
                    await self._kick.wait()
            except TimeoutError:
                continue
            self._kick.clear()

    async def round(self) -> None:
        """Look at every nonce that is not settled, once. Raises TransientError."""
        final = (await self._finality.finalised_header()).number
        nonce = await self._node.nonce(self.address, mined=True)
        found = await self._store.open(
            self._chain_id, self.address, final_number=final, nonce=nonce
        )
        free = [one for one in found if one.nonce >= nonce]
        self._counts["waiting"] = len(free)
        await self._look_for_hole(free, nonce)
        if not found:
            return
        fees = Fees(*await self._node.fees())
        for at in range(0, len(found), AT_ONCE):
            group = found[at : at + AT_ONCE]
            sights = await asyncio.gather(*(self._sight(one, nonce, final) for one in group))
            for send, sight in zip(group, sights, strict=True):
                await self._act(send, sight, fees)

    def status(self) -> dict[str, Any]:
        """Counters."""
        return {**self._counts, **{one.value: n for one, n in self._outcomes.items()}}

    # -------------------------------------------------------------------- private

    async def _sight(self, send: Send, nonce: int, final: int) -> Sight:
        mined = await self._mined(send)
        if mined is None and nonce > send.nonce:
            # Used up, and not by what we know of: is that final? Looked at again after, since
            # one of ours may have been mined between the two questions.
            used = await self._node.nonce_at(self.address, final)
            return Sight(nonce, used, final, await self._mined(send))
        known = True
        if mined is None and send.offers:
            known = await self._node.known(send.offers[-1].tx_hash)
        return Sight(nonce, 0, final, mined, known)

    async def _mined(self, send: Send) -> MinedOffer | None:
        for offer in send.offers:
            receipt = await self._node.receipt(offer.tx_hash)
            if receipt is not None:
                return MinedOffer(offer.tx_hash, receipt.status == 1, receipt.block_number)
        return None

    async def _act(self, send: Send, sight: Sight, fees: Fees) -> None:
        following = sends.judge(
            send, sight, fees=fees, cap_wei=self._cap_wei, patience_s=self._patience_s
        )
        if isinstance(following, Settle):
            if await self._store.settle(send, following):
                self._settled(send, following)
            return
        block = sight.mined.block_number if sight.mined else None
        if block != send.mined_block:
            await self._store.mined(send, block)
        if isinstance(following, Make):
            await self._offer(send, following.fees)

    async def _offer(self, send: Send, fees: Fees) -> None:
        raw, tx_hash = self._account.sign(
            to=send.to,
            data=send.data,
            gas=send.gas,
            nonce=send.nonce,
            fees=(fees.max_fee, fees.priority_fee),
        )
        if all(offer.tx_hash != tx_hash for offer in send.offers):
            await self._store.offer(send, tx_hash, fees)
            self._counts["offers"] += 1
            self._counts["raised"] += bool(send.offers)
        try:
            await self._node.send_raw(raw)
        except CallerError as error:
            # Used up, underpriced or no ETH: the next round sees which of them it is.
            self._log.info(
                "offer_refused", chain_id=self._chain_id, nonce=send.nonce, error=str(error)
            )

    async def _look_for_hole(self, free: list[Send], nonce: int) -> None:
        # The chain wants a nonce that nobody reserved: what used it was taken back. Later ones
        # would wait for ever.
        if not free or free[0].nonce == nonce:
            self._hole = None
            return
        if self._hole is None or self._hole[0] != nonce:
            self._hole = nonce, self._clock()
        elif self._clock() - self._hole[1] > self._patience_s:
            self._log.warning("nonce_filled", chain_id=self._chain_id, nonce=nonce)
            await self._store.fill(self._chain_id, self.address, nonce)
            self._counts["filled"] += 1

    def _settled(self, send: Send, end: Settle) -> None:
        self._outcomes[end.outcome] += 1
        tell = self._log.info if end.outcome is Outcome.SUCCEEDED else self._log.warning
        tell(
            "transaction_settled",
            chain_id=self._chain_id,
            nonce=send.nonce,
            kind=send.kind,
            outcome=end.outcome.value,
        )
