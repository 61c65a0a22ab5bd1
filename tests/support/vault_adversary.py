"""Who holds every attestor's key and the liquidity provider's: how much leaves in a day?

What was paid and what was put aside for a claim both count, at its time; what the thief paid in by
deposits is not taken off. A plan is a list of times, at each of which all that can be taken is
taken; plans that took most are changed a little and tried again.
"""

import random
from dataclasses import dataclass, field

from tests.model.vault import FIELDS, HOUR, Message, message_id
from tests.support.vault_bench import (
    FIRST_USER,
    LIMIT,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    Bench,
    Step,
    release_data,
)
from tests.support.vault_signing import attestors, digest

DAY = 24 * HOUR
SPLITS = 7
KINDS = ("release", "remove", "loop")

Plan = tuple[tuple[int, str], ...]
"""(seconds after the first full day, what is taken first)."""

STEADY: Plan = tuple((second, "release") for second in range(0, 30 * HOUR, 2 * HOUR))
ROUND_A_DAY: Plan = ((DAY - 1, "release"), (DAY, "loop"), (DAY + 1, "remove"), (2 * DAY, "release"))
ROUND_AN_HOUR: Plan = tuple(
    (HOUR * hour + late, KINDS[hour % 3]) for hour in (1, 24, 25, 26) for late in (-1, 0, 1)
)
LOOPS: Plan = tuple((second, "loop") for second in range(0, DAY, 2 * HOUR))
KNOWN = (STEADY, ROUND_A_DAY, ROUND_AN_HOUR, LOOPS)


@dataclass
class Adversary:
    """`worst` is the most that left in any 24 hours, over the limit."""

    bench: Bench
    worst: float = 0.0
    worst_plan: Plan = ()
    plans: int = 0
    taken_wei: int = 0
    _nonce: int = 10**9
    _refunds: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vault = self.bench.vault.address
        self.mine = int(self.bench.chain.rpc("eth_chainId"), 16)
        self.signer_set = self.bench.signer_set

    def known(self) -> float:
        """The plans that broke other windows."""
        for plan in KNOWN:
            self.carry_out(plan)
        return self.worst

    def search(self, plans: int, seed: int) -> float:
        """So many plans at random, each second one the worst with a small change."""
        rng = random.Random(seed)
        for number in range(plans):
            fresh = number % 2 == 0 or not self.worst_plan
            self.carry_out(_random_plan(rng) if fresh else _changed(self.worst_plan, rng))
        return self.worst

    def carry_out(self, plan: Plan) -> float:
        """The most that left in a day by this plan, over the limit; it is taken back."""
        with self.bench.chain.undone():
            self._begin()
            outflows: list[tuple[int, int]] = []
            for second, kind in plan:
                at = max(self.start + second, self.bench.now() + 1)
                outflows += [(at, amount) for amount in self._take(kind, at)]
        most = max(
            sum(amount for other, amount in outflows if at <= other <= at + DAY)
            for at, _ in [*outflows, (0, 0)]
        )
        self.plans += 1
        self.taken_wei += sum(amount for _, amount in outflows)
        if most / LIMIT > self.worst or not self.worst_plan:
            self.worst, self.worst_plan = most / LIMIT, plan
        return most / LIMIT

    def _begin(self) -> None:
        self.start = (self.bench.now() // DAY + 2) * DAY
        vault = self.bench.vault
        own = vault.data("deposit", self.bench.actors[FIRST_USER + 1], PEER_CHAIN, bytes(32))
        steps = [Step(PROVIDER, vault.data("addLiquidity"), 50 * LIMIT)]
        # Its own deposits, to be refunded later.
        steps += [Step(FIRST_USER, own, LIMIT >> split) for split in range(SPLITS)]
        outcomes = self.bench.run(steps, at=self.bench.now() + 1)
        events = [event for one in outcomes[1:] for event in self.bench.events(one)]
        self._refunds = [self._refund(event.args["message"]) for event in events]

    def _take(self, first: str, at: int) -> list[int]:
        order = [first, *(kind for kind in KINDS if kind != first)]
        steps = [step for kind in order for step in self._steps(kind, at)]
        found = []
        for outcome in self.bench.run(steps, at=at):
            for event in self.bench.events(outcome):
                if event.name in ("Released", "Refunded", "LiquidityRemoved"):
                    found.append(event.args["amount"])
        return found

    def _steps(self, kind: str, at: int) -> list[Step]:
        vault, thief = self.bench.vault, self.bench.actors[FIRST_USER + 1]
        # Ever smaller, so that what is left is taken to a small part.
        amounts = [LIMIT >> split for split in range(SPLITS)]
        if kind == "remove":
            return [Step(PROVIDER, vault.data("removeLiquidity", thief, one)) for one in amounts]
        if kind == "loop":
            return [Step(FIRST_USER, refund) for refund in self._refunds]
        return [Step(FIRST_USER, self._release(thief, one, at)) for one in amounts]

    def _refund(self, deposit: Message) -> bytes:
        id_ = message_id(deposit)
        wanted = digest(("refund", self.mine, self.vault, id_, self.signer_set), deposit)
        return self.bench.vault.data("refund", id_, [k.sign(wanted) for k in attestors()[:2]])

    def _release(self, thief: bytes, amount: int, at: int) -> bytes:
        self._nonce += 1
        ends = (PEER_CHAIN, self.mine, PEER_VAULT, self.vault, self._nonce)
        values = (*ends, thief, thief, amount, amount // 100, at + DAY)
        message = dict(zip(FIELDS, values, strict=True))
        over = ("release", self.mine, self.vault, message_id(message), self.signer_set)
        wanted = digest(over, message)
        return release_data(message, [key.sign(wanted) for key in attestors()[:2]])


def _random_plan(rng: random.Random) -> Plan:
    marks = [
        rng.randrange(50) * HOUR + rng.choice([-1, 0, 1, rng.randrange(HOUR)])
        for _ in range(rng.randrange(2, 10))
    ]
    return tuple((mark, rng.choice(KINDS)) for mark in sorted(max(0, mark) for mark in marks))


def _changed(plan: Plan, rng: random.Random) -> Plan:
    marks = [
        (max(0, second + rng.choice([0, 0, -1, 1, -HOUR, HOUR, rng.randrange(-600, 600)])), kind)
        for second, kind in plan
        if rng.random() < 0.9
    ]
    if rng.random() < 0.3:
        marks.append((rng.randrange(2 * DAY), rng.choice(KINDS)))
    return tuple(sorted(marks)) or plan
