"""A relayer's word on whether transfers go through, for the doors: said again and again.

What is said is decided in `engine.bridge.health`; here attestors and vaults are asked. A vault
that does not answer counts as it did the last time: the doors ask it themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from actors.bridge_ports import CurrentSigners
from actors.ports import Calls, Log
from engine.bridge.health import VaultSeen, closed_because
from engine.control import Directory, StatusWanted
from engine.errors import RiseCurveError, TransientError
from engine.limits import BRIDGE_BEAT_S

ASK_TIMEOUT_S = 2.0


class Beats(Protocol):
    """`storage.bridge_beats`."""

    async def say(self, name: str, *, closed: str, paused: bool) -> None: ...


class Relayer(Protocol):
    """`actors.relayer`, as far as it is used."""

    @property
    def closed_because(self) -> str: ...
    @property
    def turn_age_s(self) -> float: ...


class AskedVault(Protocol):
    """`chain.vault_view.VaultView`, as far as it is used."""

    async def signers(self, at: int | str = "latest") -> CurrentSigners: ...
    async def paused(self, at: int | str = "latest") -> bool: ...
    async def minimum(self, chain_id: int) -> int: ...


class BridgeHealth:
    """Plain class; `run` is its work, `route` tells it who attests. `vaults` by chain id."""

    def __init__(
        self,
        *,
        name: str,
        relayer: Relayer,
        vaults: Mapping[int, AskedVault],
        beats: Beats,
        calls: Calls,
        log: Log,
        every_s: float = BRIDGE_BEAT_S,
    ) -> None:
        self._name = name
        self._relayer = relayer
        self._vaults = vaults
        self._beats = beats
        self._calls = calls
        self._log = log
        self._every_s = every_s
        self._faults: dict[int, str] = {}
        self._seen: dict[int, VaultSeen | None] = dict.fromkeys(vaults)
        self._attestors: tuple[str, ...] = ()
        self._troubled = False

    def route(self, directory: Directory) -> None:
        """Who is there now."""
        self._attestors = tuple(one.name for one in directory.named("attestor"))

    async def run(self) -> None:
        """Say it until cancelled; who says nothing closes the doors."""
        while True:
            try:
                await self.step()
                self._troubled = False
            except RiseCurveError as error:
                if not self._troubled:
                    self._log.warning("bridge_health_not_said", error=str(error))
                self._troubled = True
            await asyncio.sleep(self._every_s)

    async def step(self) -> None:
        """Ask everybody, and say it once. Raises TransientError."""
        signing, _ = await asyncio.gather(self._signing(), self._ask_vaults())
        vaults = list(self._seen.values())
        closed = closed_because(
            self._relayer.closed_because,
            turn_age_s=self._relayer.turn_age_s,
            vaults=vaults,
            signing=signing,
        )
        paused = any(one.paused for one in vaults if one is not None)
        await self._beats.say(self._name, closed=closed, paused=paused)

    # -------------------------------------------------------------------- private

    async def _ask_vaults(self) -> None:
        await asyncio.gather(*map(self._ask, self._vaults))

    async def _ask(self, chain_id: int) -> None:
        vault = self._vaults[chain_id]
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                found, paused = await asyncio.gather(vault.signers(), vault.paused())
                fault = await self._fault_of(chain_id)
        except (RiseCurveError, TimeoutError):
            return
        self._seen[chain_id] = VaultSeen(chain_id, found.addresses, found.threshold, paused, fault)

    async def _fault_of(self, chain_id: int) -> str:
        # Its code never changes, so that it answers is for good. That it does not is asked again:
        # a node may have refused for a reason of its own.
        if self._faults.get(chain_id) != "":
            fault = ""
            try:
                await self._vaults[chain_id].minimum(chain_id)
            except TransientError as error:
                if error.code != "bridge_unavailable":
                    raise
                fault = error.message
                if chain_id not in self._faults:
                    self._log.error("bridge_vault_outdated", chain_id=chain_id, reason=fault)
            self._faults[chain_id] = fault
        return self._faults[chain_id]

    async def _signing(self) -> list[bytes]:
        answers = await asyncio.gather(*map(self._status, self._attestors))
        return [
            bytes.fromhex(one["address"][2:])
            for one in answers
            if one is not None and not one["stopped"]
        ]

    async def _status(self, attestor: str) -> dict[str, Any] | None:
        asked: Awaitable[Any] = self._calls.ask(attestor, StatusWanted(), timeout_s=ASK_TIMEOUT_S)
        try:
            found: dict[str, Any] = await asked
        except RiseCurveError:
            return None
        return found


def routed(route: Callable[[Directory], Any], health: BridgeHealth) -> Callable[[Directory], Any]:
    """Tells both who is there."""

    def both(directory: Directory) -> Any:
        health.route(directory)
        return route(directory)

    return both
