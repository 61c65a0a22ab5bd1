"""A vault under test, and many calls of it in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain import abi
from chain.vault_deployer import VAULT_TYPES
from tests.model import vault as model
from tests.model.vault import FIELDS, Message, words
from tests.support.evm import ETHER, Chain, Contract, Event, Reverted, named
from tests.support.vault_signing import attestors

CONFIG_FIELDS = (
    *("owner", "signers", "threshold", "guardians", "providers"),
    *("limit", "minimum", "fee_bps", "delay", "ttl"),
)
STEP = "(uint256,address,uint256,bytes32,bytes)[]"
STEPPED = keccak(
    b"Stepped(bool,((uint256,uint256,uint256,uint256,uint256,uint256,uint256),uint256,uint256,"
    b"uint256,uint256,bool,uint8,bool,uint256),bytes)"
)
RUN = keccak(f"run(address,{STEP})".encode())[:4]
STATE_WORDS = 15
RUN_GAS = 400_000_000
RELEASE = keccak(
    b"release((uint256,uint256,address,address,uint256,address,address,uint256,uint256,uint256),"
    b"bytes[])"
)[:4]
ACTORS = 8
OWNER, GUARDIAN, PROVIDER, FIRST_USER = range(4)
LIMIT = 100 * ETHER
MINIMUM = ETHER // 100
PEER_CHAIN = 11155111
PEER_VAULT = keccak(b"the vault of the other chain")[12:]


@dataclass(frozen=True)
class Step:
    """One call by an actor; `to` zero is the vault, `id` the message whose fate is told after."""

    actor: int
    data: bytes
    value: int = 0
    id: bytes = bytes(32)
    to: bytes = bytes(20)


@dataclass
class Outcome:
    """What one step did: its logs, the error it was refused with, and what stood after it."""

    ok: bool
    state: tuple[int, ...]
    error: Reverted | None
    logs: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Bench:
    """The vault, and the driver with its actors."""

    chain: Chain
    vault: Contract
    driver: bytes
    actors: list[bytes]
    start: model.Start
    sender: bytes

    def model(self) -> model.Vault:
        """A model in the state in which the vault is right after it was made."""
        chain_id = int(self.chain.rpc("eth_chainId"), 16)
        return model.Vault(chain_id, self.vault.address, self.start)

    @cached_property
    def signer_set(self) -> bytes:
        """The first one."""
        found: bytes = self.vault.call("signers")[3]
        return found

    def now(self) -> int:
        return int(self.chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def run(self, steps: Sequence[Step], *, at: int) -> list[Outcome]:
        """All of them in one block of time `at`."""
        data = RUN + _encoded(self.vault.address, steps)
        self.chain.rpc("evm_setNextBlockTimestamp", at)
        receipt = self.chain.send(self.driver, data, sender=self.sender, gas=RUN_GAS)
        assert receipt["status"] == "0x1", receipt
        return self._outcomes(receipt["logs"], len(steps))

    def feel(self, actor: int, mood: int) -> Step:
        """How the actor takes ETH from here on: 0 gladly, 1 not, 2 not and loudly, more: gas."""
        data = keccak(b"feel(uint256)")[:4] + mood.to_bytes(32, "big")
        return Step(actor, data, to=self.actors[actor])

    def events(self, outcome: Outcome) -> list[Event]:
        return self.vault.events({"logs": outcome.logs})

    def _outcomes(self, logs: list[dict[str, Any]], count: int) -> list[Outcome]:
        found: list[Outcome] = []
        since: list[dict[str, Any]] = []
        driver = "0x" + self.driver.hex()
        for log in logs:
            if log["address"].lower() != driver:
                since.append(log)
                continue
            data = bytes.fromhex(log["data"][2:])
            words = [int.from_bytes(data[i : i + 32], "big") for i in range(0, 18 * 32, 32)]
            answer = data[18 * 32 : 18 * 32 + words[17]]
            error = None if words[0] else named(answer)
            found.append(Outcome(bool(words[0]), tuple(words[1:16]), error, since))
            since = []
        assert len(found) == count and not since
        return found


def _encoded(vault: bytes, steps: Sequence[Step]) -> bytes:
    # As the ABI does it, many times faster than a library that checks each value.
    tails = [
        words(step.actor, step.to, step.value, step.id, 160) + dynamic(step.data) for step in steps
    ]
    offsets, at = [], 32 * len(tails)
    for tail in tails:
        offsets.append(at)
        at += len(tail)
    return words(vault, 64, len(tails), *offsets) + b"".join(tails)


def dynamic(data: bytes) -> bytes:
    """`bytes` as the ABI has them: the length, then the bytes padded."""
    return words(len(data)) + data + bytes(-len(data) % 32)


def release_data(message: Message, signatures: Sequence[bytes]) -> bytes:
    """A call of `release`."""
    tails = [dynamic(one) for one in signatures]
    offsets = [32 * len(tails) + sum(map(len, tails[:index])) for index in range(len(tails))]
    head = words(*(message[name] for name in FIELDS), 11 * 32, len(tails), *offsets)
    return RELEASE + head + b"".join(tails)


def config(**changes: Any) -> dict[str, Any]:
    """A vault's beginning: six known attestors of whom three are signers, two of them enough."""
    signers = tuple(key.address for key in attestors()[:3])
    values: dict[str, Any] = {"signers": signers, "threshold": 2, "limit": LIMIT, "fee_bps": 25}
    values |= {"minimum": MINIMUM, "delay": 2 * model.HOUR, "ttl": 24 * model.HOUR}
    return values | changes


def arguments(start: model.Start) -> bytes:
    """The constructor's."""
    return encode(VAULT_TYPES, [tuple(getattr(start, name) for name in CONFIG_FIELDS)])


def build(
    chain: Chain,
    driver_artifact: dict[str, Any],
    *,
    artifact: dict[str, Any] | None = None,
    peer: tuple[int, bytes] | None = (PEER_CHAIN, PEER_VAULT),
    **changes: Any,
) -> Bench:
    """A vault of its own, with actors as owner, guardian and provider."""
    sender = chain.account("vault driver", 10**9 * ETHER)
    count = encode(["uint256"], [ACTORS])
    driver = Contract(chain, driver_artifact, chain.create(driver_artifact, count, sender=sender))
    actors = [driver.call("actors", index) for index in range(ACTORS)]
    for actor in actors:
        chain.rpc("anvil_setBalance", "0x" + actor.hex(), hex(10**7 * ETHER))
    roles = {
        "owner": actors[OWNER],
        "guardians": (actors[GUARDIAN],),
        "providers": (actors[PROVIDER],),
    }
    start = model.Start(**config(**roles | changes))
    artifact = artifact or abi.load("BridgeVault")
    place = chain.create(artifact, arguments(start), sender=sender)
    bench = Bench(chain, Contract(chain, artifact, place), driver.address, actors, start, sender)
    if peer is not None:
        step = Step(OWNER, bench.vault.data("setPeer", *peer))
        (outcome,) = bench.run([step], at=bench.now() + 1)
        assert outcome.ok, outcome.error
    return bench
