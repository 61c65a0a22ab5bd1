"""Release, cancel and refund of the same messages against each other, on two chains.

A trial deposits at the source, then calls everything at both ends in random orders, many in one
block, at times round the deadline and an hour after it. Attestors are honest: they sign a release
for what was deposited and a refund for what they see cancelled, nothing else. In the end nobody
hinders any more, and each message must have been paid once.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.model.vault import CANCELLED, HOUR, NONE, QUEUED, Message, message_id
from tests.support.evm import Chain
from tests.support.vault_bench import (
    FIRST_USER,
    GUARDIAN,
    LIMIT,
    MINIMUM,
    OWNER,
    PROVIDER,
    Bench,
    Outcome,
    Step,
    build,
    release_data,
)
from tests.support.vault_signing import attestors, digest

MESSAGES = 2
ROUNDS_MAX = 5


@dataclass
class Race:
    """Both ends. `faults` say what went wrong, by trial."""

    source: Bench
    target: Bench
    faults: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    @classmethod
    def on(
        cls,
        chains: tuple[Chain, Chain],
        driver: dict[str, Any],
        artifact: dict[str, Any] | None = None,
    ) -> "Race":
        source, target = (build(one, driver, artifact=artifact, peer=None) for one in chains)
        ids = [int(one.rpc("eth_chainId"), 16) for one in chains]
        for mine, other, chain_id in [(source, target, ids[1]), (target, source, ids[0])]:
            peer = mine.vault.data("setPeer", chain_id, other.vault.address)
            liquidity = Step(PROVIDER, mine.vault.data("addLiquidity"), 10 * LIMIT)
            done = mine.run([Step(OWNER, peer), liquidity], at=mine.now() + 1)
            assert all(one.ok for one in done)
        return cls(source, target)

    def run(self, trials: int, seed: int) -> None:
        """Each trial is taken back."""
        for number in range(trials):
            with self.source.chain.undone(), self.target.chain.undone():
                _Trial(self, random.Random(f"{seed} {number}"), f"trial {number}").run()


class _Trial:
    def __init__(self, race: Race, rng: random.Random, name: str) -> None:
        self.race, self.rng, self.name = race, rng, name
        self.source, self.target = race.source, race.target
        # Their clocks differ, as clocks do.
        self.now = {id(race.source): race.source.now(), id(race.target): race.target.now()}
        self.now[id(rng.choice([race.source, race.target]))] += rng.randrange(2 * HOUR)
        self.paid = Counter[bytes]()
        self.messages: list[Message] = []

    def run(self) -> None:
        self._deposit()
        if self.rng.random() < 0.4:
            self._fill_the_window()
        for _ in range(self.rng.randrange(1, ROUNDS_MAX + 1)):
            self._race_at_target()
            self._race_at_source()
        self._settle()
        for message in self.messages:
            count = self.paid[message_id(message)]
            if count != 1:
                self.race.faults.append(f"{self.name}: paid {count} times")

    def _send(self, bench: Bench, steps: list[Step], at: int) -> list[Outcome]:
        self.now[id(bench)] = at = max(at, self.now[id(bench)] + 1)
        outcomes = bench.run(steps, at=at)
        for outcome in outcomes:
            self.race.seen[outcome.error.name if outcome.error else "done"] += 1
            for event in bench.events(outcome):
                self.race.seen[event.name] += 1
                if event.name in ("Released", "Refunded"):
                    self.paid[event.args["id"]] += 1
        return outcomes

    def _deposit(self) -> None:
        vault = self.source.vault
        chain_id = int(self.target.chain.rpc("eth_chainId"), 16)
        to = self.target.actors[FIRST_USER + 1]
        data = vault.data("deposit", to, chain_id, bytes(32))
        amounts = [self.rng.randrange(MINIMUM, LIMIT // 2) for _ in range(MESSAGES)]
        steps = [Step(FIRST_USER + i, data, amount) for i, amount in enumerate(amounts)]
        for outcome in self._send(self.source, steps, 0):
            (event,) = self.source.events(outcome)
            self.messages.append(event.args["message"])

    def _fill_the_window(self) -> None:
        # A message of somebody else takes all that may leave.
        deposit = self.messages[0] | {"nonce": 10**6, "amount": LIMIT, "fee": 0}
        done = self._send(self.target, [Step(FIRST_USER, self._release(deposit))], 0)
        assert done[0].ok, done[0].error
        self.paid.clear()

    def _release(self, message: Message) -> bytes:
        wanted = self._digest("release", self.target, message)
        return release_data(message, [key.sign(wanted) for key in attestors()[:2]])

    def _refund(self, message: Message) -> bytes:
        id_ = message_id(message)
        vault = self.source.vault
        if self._fate(message) == CANCELLED:
            wanted = self._digest("refund", self.source, message)
        else:
            wanted = self._digest("release", self.target, message)
        return vault.data("refund", id_, [key.sign(wanted) for key in attestors()[1:3]])

    def _digest(self, kind: str, bench: Bench, message: Message) -> bytes:
        chain_id = message["sourceChain" if bench is self.source else "targetChain"]
        over = (kind, chain_id, bench.vault.address, message_id(message), bench.signer_set)
        return digest(over, message)

    def _fate(self, message: Message) -> int:
        return int(self.target.vault.call("fateOf", message_id(message)))

    def _race_at_target(self) -> None:
        rng, vault, steps = self.rng, self.target.vault, []
        for message in self.messages:
            data = tuple(message.values())
            steps += [
                Step(rng.randrange(8), self._release(message)),
                Step(rng.randrange(8), self._release(message)),
                Step(rng.randrange(8), vault.data("cancel", data)),
                Step(rng.randrange(8), vault.data("cancel", data)),
                Step(GUARDIAN, vault.data("cancelQueued", data)),
            ]
        if rng.random() < 0.1:
            steps.append(Step(GUARDIAN, vault.data("pause")))
        chosen = rng.sample(steps, rng.randrange(1, len(steps) + 1))
        late = rng.choice([-HOUR, -1, 0, 0, 1, HOUR - 1, HOUR, HOUR + 1, 25 * HOUR])
        early = self.now[id(self.target)] + rng.randrange(1, 600)
        at = rng.choice([early, rng.choice(self.messages)["deadline"] + late])
        self._send(self.target, chosen, at)

    def _race_at_source(self) -> None:
        steps = [
            Step(self.rng.randrange(8), self._refund(message))
            for message in self.messages
            for _ in range(self.rng.randrange(3))
        ]
        self.rng.shuffle(steps)
        self._send(self.source, steps, 0)

    def _settle(self) -> None:
        """Honest people do what is left to do; each try is a day later."""
        self._unpause()
        for _ in range(3):
            todo: list[Step] = []
            for message in self.messages:
                fate, data = self._fate(message), tuple(message.values())
                if fate == QUEUED:
                    todo.append(Step(FIRST_USER, self._release(message)))
                elif fate == NONE:
                    todo.append(Step(FIRST_USER, self.target.vault.data("cancel", data)))
            deadline = max(message["deadline"] for message in self.messages)
            self._send(self.target, todo, max(deadline, self.now[id(self.target)]) + 25 * HOUR)
            self._refund_cancelled()

    def _refund_cancelled(self) -> None:
        owed = [one for one in self.messages if self._fate(one) == CANCELLED]
        steps = [Step(FIRST_USER, self._refund(message)) for message in owed]
        self._send(self.source, steps, self.now[id(self.source)] + 25 * HOUR)

    def _unpause(self) -> None:
        vault = self.target.vault
        if not vault.call("paused"):
            return
        data = vault.data("unpause")
        later = self.target.start.delay + 1
        self._send(self.target, [Step(OWNER, vault.data("schedule", data))], 0)
        at = self.now[id(self.target)] + later
        self._send(self.target, [Step(OWNER, vault.data("execute", data))], at)
