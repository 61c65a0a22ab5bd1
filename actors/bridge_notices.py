"""Tells wallets' sockets of each step of their transfers, and forgets what nobody needs any more:
requests without a deposit, and what vaults said of transfers that ended long ago.

The steps stand in Postgres, written in the transaction that took them; here they are published
on the wallet's topic, then marked as told. Who dies in between tells them again, so each comes at
least once; of one transfer they come in order, and `number` says which is which.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from actors.ports import Log
from engine import text
from engine.bridge.requests import Key
from engine.bridge.transfers import told
from engine.errors import RiseCurveError
from engine.limits import (
    BRIDGE_EVENTS_KEPT_S,
    BRIDGE_INTENT_KEPT_S,
    BRIDGE_NOTICES_MAX,
    BRIDGE_SWEEP_ROWS,
)

IDLE_S = 1.0
"""Where nobody says that there is something new."""

FORGET_EVERY_S = 600.0
FORGOTTEN_MAX = 1_000


class Notice(Protocol):
    """`storage.bridge_notices.Notice`."""

    @property
    def key(self) -> Key: ...
    @property
    def number(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def target_chain(self) -> int: ...
    @property
    def message(self) -> bytes | None: ...
    @property
    def user(self) -> bytes: ...
    @property
    def recipient(self) -> bytes: ...
    @property
    def amount(self) -> int: ...
    @property
    def source_tx(self) -> bytes | None: ...
    @property
    def target_tx(self) -> bytes | None: ...
    @property
    def refund_tx(self) -> bytes | None: ...


class Notices(Protocol):
    """`storage.bridge_notices`."""

    async def tell(
        self, publish: Callable[[Sequence[Any]], Awaitable[None]], limit: int
    ) -> int: ...
    async def forget_intents(self, *, kept_s: float, limit: int) -> int: ...
    async def forget_events(self, *, kept_s: float, limit: int) -> int: ...


class Topics(Protocol):
    """`storage.ticks`, as far as it is used."""

    async def publish_counted(self, topic: str, event: str, data: dict[str, object]) -> None: ...


class BridgeNotices:
    """Plain class; `run` is its work. Two of them tell no step both."""

    def __init__(self, *, notices: Notices, ticks: Topics, log: Log) -> None:
        self._notices = notices
        self._ticks = ticks
        self._log = log
        self._troubled = False
        self._news = asyncio.Event()
        self.told = 0

    async def run(self) -> None:
        """Tell until cancelled; a store that is away is asked again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(self.step, IDLE_S, self._news))
            tasks.create_task(self._keep(self.forget, FORGET_EVERY_S))
            tasks.create_task(self._keep(self.forget_events, FORGET_EVERY_S))

    def wake(self) -> None:
        """There may be something to tell."""
        self._news.set()

    async def step(self) -> int:
        """Tell what is untold, once; how many steps that were. Raises TransientError."""
        count = await self._notices.tell(self._publish, BRIDGE_NOTICES_MAX)
        self.told += count
        return count if count == BRIDGE_NOTICES_MAX else 0

    async def forget(self) -> int:
        """Take away old requests without a deposit, a bounded number. Raises TransientError."""
        return await self._notices.forget_intents(kept_s=BRIDGE_INTENT_KEPT_S, limit=FORGOTTEN_MAX)

    async def forget_events(self) -> int:
        """Take away old events of vaults; how many while there are more. Raises TransientError."""
        count = await self._notices.forget_events(
            kept_s=BRIDGE_EVENTS_KEPT_S, limit=BRIDGE_SWEEP_ROWS
        )
        return count if count == BRIDGE_SWEEP_ROWS else 0

    async def _publish(self, notices: Sequence[Notice]) -> None:
        for one in notices:
            topic = text.topic_of_user(text.hex_of(one.user))
            await self._ticks.publish_counted(topic, "user", data_of(one))

    async def _keep(
        self, work: Callable[[], Awaitable[int]], pause_s: float, news: asyncio.Event | None = None
    ) -> None:
        news = news or asyncio.Event()
        while True:
            news.clear()
            more = 0
            try:
                more = await work()
                self._troubled = False
            except RiseCurveError as error:
                if not self._troubled:
                    self._log.warning("steps_not_told", error=str(error))
                self._troubled = True
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await news.wait()


def data_of(notice: Notice) -> dict[str, object]:
    """A step as the topic `user:<address>` has it."""
    hashes: Mapping[str, bytes | None] = {
        "messageId": notice.message,
        "sourceTxHash": notice.source_tx,
        "targetTxHash": notice.target_tx,
        "refundTxHash": notice.refund_tx,
    }
    return {
        "event": "bridge",
        "id": text.hex_of(notice.key[2]),
        "number": notice.number,
        "status": notice.status,
        "step": notice.step,
        "reason": told(notice.reason),
        "at": int(notice.at),
        "sourceChain": notice.key[0],
        "targetChain": notice.target_chain,
        "userAddress": text.address(notice.user),
        "targetAddress": text.address(notice.recipient),
        "amount": text.units(notice.amount),
        **{name: None if raw is None else text.hex_of(raw) for name, raw in hashes.items()},
    }
