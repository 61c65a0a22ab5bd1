"""A receiver that calls the vault while the vault pays it."""

from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.model.vault import FIELDS, Message, message_id
from tests.support.evm import ETHER, Chain, Contract, Event
from tests.support.vault_bench import PEER_CHAIN, PEER_VAULT, Bench, build, release_data
from tests.support.vault_play import DAY, USER
from tests.support.vault_signing import attestors

GUARDED = keccak(b"ReentrancyGuardReentrantCall()")[:4]


class Entering:
    """One contract that has every role, is every receiver, and calls back when it is paid."""

    def __init__(self, chain: Chain, harness: dict[str, dict[str, Any]]) -> None:
        self.chain = chain
        self.sender = chain.account("enters")
        made = chain.create(harness["Relay"], b"", sender=self.sender)
        self.relay = Contract(chain, harness["Relay"], made)
        roles = {"owner": made, "guardians": (made,), "providers": (made,)}
        self.bench: Bench = build(chain, harness["VaultDriver"], peer=None, **roles)
        self.vault = self.bench.vault
        self.chain_id = int(chain.rpc("eth_chainId"), 16)
        self.relay.send("aim", self.vault.address, sender=self.sender)
        self.send("setPeer", PEER_CHAIN, PEER_VAULT)
        self.send("addLiquidity", value=50 * ETHER)
        values = (self.bench.actors[USER], PEER_CHAIN, bytes(32))
        events = self.send("deposit", *values, value=ETHER)
        self.deposited: Message = events[0].args["message"]
        self.first, self.second = (self._inbound(nonce) for nonce in (1, 2))

    def send(self, function: str, *values: Any, value: int = 0) -> list[Event]:
        return self.raw(self.vault.data(function, *values), value=value)

    def raw(self, data: bytes, *, value: int = 0) -> list[Event]:
        receipt = self.relay.transact("execute", data, sender=self.sender, value=value)
        return self.vault.events(receipt)

    def outer(self) -> dict[str, bytes]:
        """Calls that pay the contract."""
        return {
            "release": self._release(self.first),
            "refund": self._refund(),
            "removeLiquidity": self.vault.data("removeLiquidity", self.relay.address, ETHER),
            "claimFees": self.vault.data("claimFees", self.relay.address, 1),
            "claim": self.vault.data("claim", self.relay.address),
        }

    def inner(self) -> dict[str, bytes]:
        """Calls that it tries meanwhile."""
        message = tuple(self.second.values())
        return self.outer() | {
            "release": self._release(self.second),
            "release again": self._release(self.first),
            "deposit": self.vault.data("deposit", self.bench.actors[USER], PEER_CHAIN, bytes(32)),
            "addLiquidity": self.vault.data("addLiquidity"),
            "cancel": self.vault.data("cancel", message),
            "cancelQueued": self.vault.data("cancelQueued", message),
        }

    def prepare(self) -> None:
        """Fees and a claim that wait."""
        self.raw(self._release(self._inbound(3)))
        self.relay.send("refuse", True, sender=self.sender)
        self.raw(self._release(self._inbound(4)))
        self.relay.send("refuse", False, sender=self.sender)

    def _inbound(self, nonce: int) -> Message:
        ends = (PEER_CHAIN, self.chain_id, PEER_VAULT, self.vault.address, nonce)
        rest = (self.relay.address, self.relay.address, ETHER, ETHER // 200)
        return dict(zip(FIELDS, (*ends, *rest, self.bench.now() + DAY), strict=True))

    def _release(self, message: Message) -> bytes:
        wanted = self.vault.call("releaseDigest", tuple(message.values()))
        return release_data(message, [key.sign(wanted) for key in attestors()[:2]])

    def _refund(self) -> bytes:
        id_ = message_id(self.deposited)
        wanted = self.vault.call("refundDigest", id_)
        return self.vault.data("refund", id_, [key.sign(wanted) for key in attestors()[:2]])


@pytest.fixture(scope="module")
def entering(chain: Chain, harness: dict[str, dict[str, Any]]) -> Entering:
    made = Entering(chain, harness)
    made.prepare()
    return made


@pytest.mark.parametrize("outer", ["release", "refund", "removeLiquidity", "claimFees", "claim"])
def test_receiver_that_enters_again_is_refused(entering: Entering, outer: str) -> None:
    for name, data in entering.inner().items():
        with entering.chain.undone():
            entering.relay.send("arm", data, sender=entering.sender)
            events = entering.raw(entering.outer()[outer])
            assert len(events) == 1, name
            assert events[0].args.get("paid", True), name
            assert entering.relay.call("tried")[:3] == (1, False, GUARDED), name
