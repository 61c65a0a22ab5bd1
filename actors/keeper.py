"""The keeper: opens the pool of every market that is sold out.

`graduate` may be sent by anyone and does nothing a second time, so two keepers, or one that
died after sending, do no harm. What is to be done stands in the recorder's rows and is asked
for once a block: there is nothing here to lose. A market, in order:
  1. it was graduated by somebody meanwhile, and the rows are a moment behind: leave it;
  2. the contract refuses: try again later, ever more slowly, and say so once;
  3. sent and mined: the listener brings its `Graduated` like any other event.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.ports import Log
from engine.control import Directory, Drain, StatusWanted
from engine.errors import CallerError, RiseCurveError
from engine.settings import ChainSettings

GRADUATING_MAX = 1_000
"""Markets looked at in one round."""

SETTLED_BLOCKS = 20
"""A market that we graduated is left alone for so long; then a reorg may have undone it."""

RETRY_S_MIN = 2.0
RETRY_S_MAX = 300.0
REMEMBERED_MAX = 10_000
GAS = 1_000_000
"""Measured: 264,000; unused gas is not paid."""

BALANCE_WEI_MIN = 10**16
BALANCE_EVERY_S = 60.0


class Graduating(Protocol):
    """What waits: `storage.events`."""

    async def graduating(self, limit: int) -> list[tuple[bytes, int]]: ...


class Simulation(Protocol):
    """`chain.sender.Node`, as far as it is used."""

    async def call(self, *, to: bytes, data: bytes, sender: bytes | None = None) -> bytes: ...


class Receipt(Protocol):
    """How it ended."""

    @property
    def tx_hash(self) -> bytes: ...
    @property
    def status(self) -> int: ...


class Payer(Protocol):
    """The account that pays the gas: `chain.payer`."""

    @property
    def address(self) -> bytes: ...
    async def balance(self) -> int: ...
    async def send(self, *, to: bytes, data: bytes, gas: int) -> Receipt: ...


@dataclass(slots=True)
class _Patience:
    until: float
    pause_s: float


class Keeper:
    """Plain class; `handlers` is its whole behaviour. Without a payer it only counts."""

    def __init__(
        self,
        *,
        chain: ChainSettings,
        store: Graduating,
        node: Simulation,
        payer: Payer | None,
        graduate: Callable[[bytes], bytes],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._store = store
        self._node = node
        self._payer = payer
        self._graduate = graduate
        self._log = log
        self._clock = clock
        self._launchpads = {pad.version: pad.address for pad in chain.launchpads}
        self._later: OrderedDict[bytes, _Patience] = OrderedDict()
        self._troubled = False
        self._poor = False
        self._waiting = 0
        self._graduated = 0
        self._refused = 0
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: lambda _: None,
            StatusWanted: self._status,
            Drain: lambda _: None,
        }

    async def run(self) -> None:
        """Look once a block until cancelled."""
        if self._payer is None:
            self._log.warning("keeper_without_key", hint="Set PRIVATE_KEY; anyone may graduate")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_graduating())
            tasks.create_task(self._keep_counting_ether())

    async def round(self) -> None:
        """Graduate what waits. Raises nothing that the next round may not mend."""
        try:
            due = await self._store.graduating(GRADUATING_MAX)
        except RiseCurveError as error:
            self._trouble(error)
            return
        self._waiting = len(due)
        if await self._graduate_all(due):
            self._troubled = False

    # -------------------------------------------------------------------- private

    async def _keep_graduating(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(self._chain.block_time_s / 2)

    async def _graduate_all(self, due: Sequence[tuple[bytes, int]]) -> bool:
        well = True
        for token, version in due:
            patience = self._later.get(token)
            if self._payer is None or (patience and self._clock() < patience.until):
                continue
            launchpad = self._launchpads.get(version)
            if launchpad is None:
                self._put_off(token, f"Expected a known launchpad version, was {version}")
                continue
            well &= await self._one(self._payer, token, launchpad)
        return well

    async def _one(self, payer: Payer, token: bytes, launchpad: bytes) -> bool:
        data = self._graduate(token)
        try:
            await self._node.call(to=launchpad, data=data, sender=payer.address)
            receipt = await payer.send(to=launchpad, data=data, gas=GAS)
        except CallerError as error:
            # Graduated by somebody else, or a fault that time may mend: ask the rows again.
            self._put_off(token, str(error))
        except RiseCurveError as error:
            self._trouble(error)
            return False
        else:
            self._ended(token, receipt)
        return True

    def _ended(self, token: bytes, receipt: Receipt) -> None:
        tx_hash = receipt.tx_hash.hex()
        if receipt.status != 1:
            self._put_off(token, f"Reverted: {tx_hash}")
            return
        self._graduated += 1
        self._log.info("market_graduated", token=token.hex(), tx_hash=tx_hash)
        self._remember(token, _Patience(self._clock() + self._settled_s, RETRY_S_MIN))

    @property
    def _settled_s(self) -> float:
        return SETTLED_BLOCKS * self._chain.block_time_s

    def _put_off(self, token: bytes, reason: str) -> None:
        before = self._later.get(token)
        pause_s = min(before.pause_s * 2, RETRY_S_MAX) if before else RETRY_S_MIN
        self._refused += 1
        if before is None:
            self._log.warning("graduation_refused", token=token.hex(), reason=reason)
        self._remember(token, _Patience(self._clock() + pause_s, pause_s))

    def _remember(self, token: bytes, patience: _Patience) -> None:
        self._later[token] = patience
        self._later.move_to_end(token)
        while len(self._later) > REMEMBERED_MAX:
            self._later.popitem(last=False)

    def _trouble(self, error: RiseCurveError) -> None:
        if not self._troubled:
            self._log.warning("keeper_trouble", error=str(error))
        self._troubled = True

    async def _keep_counting_ether(self) -> None:
        while self._payer is not None:
            try:
                poor = await self._payer.balance() < BALANCE_WEI_MIN
            except RiseCurveError:
                poor = self._poor
            if poor and not self._poor:
                self._log.error("keeper_poor", address=self._payer.address.hex())
            self._poor = poor
            await asyncio.sleep(BALANCE_EVERY_S)

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        return {
            "graduating": self._waiting,
            "graduated": self._graduated,
            "refused": self._refused,
            "can_pay": self._payer is not None and not self._poor,
        }
