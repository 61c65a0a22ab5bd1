"""A vault with liquidity, called by name, one call a block."""

from typing import Any

import pytest

from tests.model.vault import FIELDS, HOUR, Message, message_id
from tests.support.evm import ETHER, Chain, Event, Reverted
from tests.support.vault_bench import (
    FIRST_USER,
    OWNER,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    Step,
    build,
    release_data,
)
from tests.support.vault_signing import attestors, digest

DAY = 24 * HOUR
USER, OTHER = FIRST_USER, FIRST_USER + 1


class Play:
    """A vault with liquidity, and its calls by name."""

    def __init__(self, chain: Chain, driver: dict[str, Any], **changes: Any) -> None:
        self.bench = build(chain, driver, **changes)
        self.vault, self.actors = self.bench.vault, self.bench.actors
        self.chain_id = int(chain.rpc("eth_chainId"), 16)
        self.nonce = 0
        if changes.get("peer", True) is not None:
            self.do(PROVIDER, "addLiquidity", value=1_000 * ETHER)

    def do(
        self, actor: int, function: str, *values: Any, value: int = 0, later: int = 1
    ) -> list[Event]:
        """Its events. Raises Reverted."""
        return self.call(Step(actor, self.vault.data(function, *values), value), later=later)

    def call(self, step: Step, *, later: int = 1) -> list[Event]:
        (outcome,) = self.bench.run([step], at=self.bench.now() + later)
        if outcome.error is not None:
            raise outcome.error
        return self.bench.events(outcome)

    def inbound(self, amount: int, *, fee: int = 0, to: int = OTHER, late: int = DAY) -> Message:
        self.nonce += 1
        ends = (PEER_CHAIN, self.chain_id, PEER_VAULT, self.vault.address, self.nonce)
        rest = (self.actors[USER], self.actors[to], amount, fee, self.bench.now() + late)
        return dict(zip(FIELDS, (*ends, *rest), strict=True))

    def signed(self, kind: str, message: Message) -> list[bytes]:
        over = (kind, self.chain_id, self.vault.address, message_id(message))
        wanted = digest((*over, self.bench.signer_set), message)
        return [key.sign(wanted) for key in attestors()[:2]]

    def release(self, message: Message, *, later: int = 1) -> list[Event]:
        data = release_data(message, self.signed("release", message))
        return self.call(Step(OTHER, data), later=later)

    def deposit(self, amount: int = ETHER) -> Message:
        (event,) = self.do(USER, "deposit", self.actors[OTHER], PEER_CHAIN, b"r" * 32, value=amount)
        made: Message = event.args["message"]
        return made

    def refund(self, message: Message, *, later: int = 1) -> list[Event]:
        signatures = self.signed("refund", message)
        return self.do(OTHER, "refund", message_id(message), signatures, later=later)

    def execute(self, function: str, *values: Any) -> list[Event]:
        data = self.vault.data(function, *values)
        self.do(OWNER, "schedule", data)
        return self.do(OWNER, "execute", data, later=self.bench.start.delay)

    def fate(self, message: Message) -> int:
        return int(self.vault.call("fateOf", message_id(message)))

    def balance(self, actor: int) -> int:
        return self.bench.chain.balance(self.actors[actor])


def refused(error: str, *arguments: Any) -> Any:
    """Expects this error; with arguments these too."""
    return pytest.raises(Reverted, check=lambda e: _is(e, error, arguments))


def _is(raised: Reverted, error: str, arguments: tuple[Any, ...]) -> bool:
    return raised.name == error and arguments in ((), raised.arguments)
