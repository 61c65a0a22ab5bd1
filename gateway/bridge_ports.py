"""What the doors are handed of the bridge, where there is one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.bridge.health import Beat
from engine.bridge.requests import Key
from engine.bridge.transfers import Cursor, Terms, Transfer
from engine.settings import ChainSettings
from gateway.ports import Node


class BridgeRequests(Protocol):
    """`storage.bridge_requests` and `storage.bridge_reads`, of both chains."""

    async def open(
        self,
        key: Key,
        *,
        target_chain: int,
        user: bytes,
        recipient: bytes,
        amount_wei: int,
        asked_key: bytes | None = None,
    ) -> bytes: ...
    async def retry(self, key: Key) -> None: ...
    async def one(self, id: bytes) -> tuple[Transfer | None, Mapping[int, Cursor]]: ...
    async def beats(self) -> Sequence[Beat]: ...
    async def of_user(
        self,
        user: bytes,
        *,
        page: int,
        limit: int,
        before: tuple[int, bytes] | None = None,
        deposited_only: bool = False,
    ) -> tuple[list[Transfer], int, Mapping[int, Cursor]]: ...
    async def stuck(
        self, *, older_than_s: float, limit: int
    ) -> tuple[list[Transfer], Mapping[int, Cursor]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeEnd:
    """One of the two chains. `terms` asks its vault."""

    chain: ChainSettings
    vault: bytes
    node: Node
    terms: Callable[[], Awaitable[Terms]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePorts:
    """What the doors need of the bridge. `deposit` makes calldata, `pause` asks the checker of
    this name and answers by chain id.
    """

    rise: BridgeEnd
    sepolia: BridgeEnd
    requests: BridgeRequests
    deposit: Callable[..., bytes]
    pause: Callable[[str, float], Awaitable[Mapping[int, bool]]]
    minimum_wei: int
