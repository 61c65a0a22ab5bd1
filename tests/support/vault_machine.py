"""Random calls of a vault by everybody, held against the model after each of them."""

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from eth_hash.auto import keccak

from tests.model.vault import (
    FIELDS,
    HOUR,
    LAPSE,
    SETTERS,
    Call,
    Message,
    Refused,
    message_id,
)
from tests.support.evm import Event
from tests.support.vault_bench import (
    ACTORS,
    FIRST_USER,
    GUARDIAN,
    OWNER,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    Bench,
    Outcome,
    Step,
    release_data,
)
from tests.support.vault_signing import SPOILED, Key, Signed, attestors, signed

DAY = 24 * HOUR
KEPT = 30
BLOCK = 24
Deed = Callable[[], None]


class Differs(AssertionError):
    """The vault did not do what the model did, or broke a law of its own."""


class Machine:
    """`run` makes calls block by block. All numbers come from the seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.rng = bench, random.Random(seed)
        self.model = bench.model()
        self.model.now = bench.now()
        self.model.set_peer(bench.actors[OWNER], PEER_CHAIN, PEER_VAULT)
        self.model.taken()
        self.counts = Counter[str]()
        self.calls = self.nonce = self.forced = 0
        self.inbound: deque[Message] = deque(maxlen=KEPT)
        self.outbound: deque[Message] = deque(maxlen=KEPT)
        self.scheduled: deque[tuple[bytes, Call | None]] = deque(maxlen=8)
        self.old_sets: list[bytes] = []
        self.least = bench.start.minimum
        self.left: list[tuple[int, int]] = []
        self.ended = Counter[bytes]()
        self._steps: list[Step] = []
        self._wanted: list[tuple[Refused | None, list[Any], tuple[int, ...]]] = []

    def run(self, calls: int) -> None:
        """At least so many; raises Differs at the first difference."""
        until = self.calls + calls
        while self.calls < until:
            self.block()

    def block(self) -> None:
        self._force()
        self.model.now = self._next_time()
        self._steps, self._wanted = [], []
        while len(self._steps) < BLOCK:
            self.rng.choices(self._deeds, self._weights)[0]()
        outcomes = self.bench.run(self._steps, at=self.model.now)
        for step, wanted, outcome in zip(self._steps, self._wanted, outcomes, strict=True):
            events = self.bench.events(outcome)
            self._compare(step, wanted, outcome, events)
            self._obeys_laws(outcome, events)
        self.calls += len(outcomes)

    # ------------------------------------------------------------------- comparing

    def _compare(self, step: Step, wanted: Any, outcome: Outcome, events: Sequence[Event]) -> None:
        refused, logs, state = wanted
        name = self._name(step)
        if refused is not None:
            error = outcome.error
            self.counts[refused.name] += 1
            if error is None or error.name != refused.name:
                raise Differs(f"{name}: expected {refused}, was {error}")
            if refused.arguments not in (None, error.arguments):
                raise Differs(f"{name}: expected {refused}, was {error}")
        elif outcome.error is not None:
            raise Differs(f"{name}: expected success, was {outcome.error}")
        told = [(one.name, _plain(one.args)) for one in events]
        self.counts.update(event for event, _ in told)
        if told != [(event, _plain(args)) for event, args in logs]:
            raise Differs(f"{name}: expected logs {logs}, was {told}")
        if outcome.state != state:
            raise Differs(f"{name}: expected state {state}, was {outcome.state}")

    def _obeys_laws(self, outcome: Outcome, events: Sequence[Event]) -> None:
        # Of the contract's own words alone: the model may be wrong in the same way.
        for event in events:
            if event.name == "MinimumChanged":
                self.least = event.args["minimum"]
            if event.name == "Deposited" and event.args["message"]["amount"] < self.least:
                raise Differs(f"{event.args['message']} was deposited below {self.least}")
            if event.name in ("Released", "Refunded"):
                self.ended[event.args["id"]] += 1
                if self.ended[event.args["id"]] > 1:
                    raise Differs(f"{event.args['id'].hex()} was paid twice")
            if event.name in ("Released", "Refunded", "LiquidityRemoved"):
                self.left.append((self.model.now, event.args["amount"]))
                self.left = [one for one in self.left if one[0] >= self.model.now - DAY]
                if sum(amount for _, amount in self.left) > outcome.state[8]:
                    raise Differs(f"more than the limit left in a day: {self.left}")
        liquidity, deposited, released, refunded, unclaimed, fees, _ = outcome.state[:7]
        owed = liquidity + deposited - released - refunded + unclaimed + fees
        if outcome.state[10] != owed + self.forced:
            raise Differs(f"balance {outcome.state[10]}, owed {owed}, forced {self.forced}")

    def _name(self, step: Step) -> str:
        function = self.bench.vault.selectors.get(step.data[:4], "feel")
        return f"call {self.calls} {function} at {self.model.now}"

    def _add(self, step: Step, deed: Deed) -> None:
        refused = None
        try:
            deed()
        except Refused as error:
            refused = error
        logs = self.model.taken()
        self._steps.append(step)
        self._wanted.append((refused, logs, self._state(step)))

    def _state(self, step: Step) -> tuple[int, ...]:
        vault, given = self.model, self.model.deposits.get(step.id)
        told = (vault.left, vault.limit, vault.seq, vault.balance + self.forced, vault.paused)
        fate = vault.fates.get(step.id, 0)
        waiting = vault.unclaimed.get(self.bench.actors[step.actor], 0)
        return (*vault.totals(), *told, fate, given is not None and given.refunded, waiting)

    def _call(
        self, actor: int, function: str, *values: Any, deed: Deed, value: int = 0, id_: bytes = b""
    ) -> None:
        data = self.bench.vault.data(function, *values)
        self._add(Step(actor, data, value, id_ or bytes(32)), deed)

    # ------------------------------------------------------------------------ time

    def _next_time(self) -> int:
        now, rng = self.model.now, self.rng
        edge = (now // HOUR + 1) * HOUR
        marks = [now + rng.randrange(1, 90), now + rng.randrange(1, 90)]
        marks += [now + rng.randrange(90, 4_000), edge, edge - 1, now + rng.randrange(1, 6) * HOUR]
        if rng.random() < 0.15:
            marks += [now + DAY - 1, now + DAY, now + DAY + HOUR]
        for message in [*self.inbound, *self.outbound]:
            marks += [message["deadline"] + late for late in (0, 1, HOUR - 1, HOUR)]
        for allowed, _ in self.model.scheduled.values():
            marks += [allowed - 1, allowed, allowed]
            if rng.random() < 0.05:
                marks += [allowed + LAPSE, allowed + LAPSE + 1]
        return rng.choice([mark for mark in marks if mark > now])

    def _force(self) -> None:
        if self.rng.random() > 0.05:
            return
        self.forced += self.rng.randrange(1, 10**18)
        place = "0x" + self.bench.vault.address.hex()
        balance = hex(self.model.balance + self.forced)
        self.bench.chain.rpc("anvil_setBalance", place, balance)

    # -------------------------------------------------------------------- messages

    @property
    def _deeds(self) -> list[Deed]:
        return [
            *(self._deposit, self._arrive_and_release, self._release_again, self._cancel),
            *(self._cancel_queued, self._refund, self._claim, self._liquidity, self._fees),
            *(self._pause, self._schedule, self._execute, self._unschedule, self._own),
            *(self._feel, self._set_directly),
        ]

    _weights = (12, 16, 12, 8, 6, 12, 4, 8, 2, 1, 6, 8, 1, 2, 3, 1)

    def _actor(self, right: int | None = None) -> int:
        if right is not None and self.rng.random() < 0.85:
            return right
        return self.rng.randrange(ACTORS)

    def _account(self) -> bytes:
        if self.rng.random() < 0.06:
            return self.rng.choice([bytes(20), self.model.address, PEER_VAULT])
        return self.rng.choice(self.bench.actors[FIRST_USER:])

    def _amount(self) -> int:
        limit = self.model.limit
        if self.rng.random() < 0.1:
            return self.rng.choice([0, 1, limit, limit + 1, self.model.left, self.model.left + 1])
        return self.rng.randrange(1, max(2, limit // self.rng.choice([2, 4, 10, 10, 1_000])))

    def _deposit(self) -> None:
        actor, value = self._actor(), self._amount()
        if self.rng.random() < 0.1:
            value = self.model.minimum - self.rng.choice([0, 1])
        chain = PEER_CHAIN if self.rng.random() < 0.95 else self.rng.choice([0, self.model.chain])
        values = (self._account(), chain, self.rng.randbytes(32))
        made: list[Message] = []
        sender = self.bench.actors[actor]
        self._call(
            actor,
            "deposit",
            *values,
            value=value,
            deed=lambda: made.append(self.model.deposit(sender, value, *values)),
        )
        self.outbound.extend(made)

    def _arrive_and_release(self) -> None:
        rng, amount = self.rng, self._amount()
        self.nonce += 1
        deadline = self.model.now + rng.choice([DAY, DAY, DAY, HOUR, 60, 0, -1, -HOUR])
        most = amount // 100
        fee = most + 1 if rng.random() < 0.03 else rng.randrange(most + 1)
        ends = (PEER_CHAIN, self.model.chain, PEER_VAULT, self.model.address, self.nonce)
        rest = (rng.choice(self.bench.actors), self._account(), amount, fee, deadline)
        message = dict(zip(FIELDS, ends + rest, strict=True))
        self.inbound.append(message)
        if rng.random() < 0.8:
            self._release(message)

    def _release_again(self) -> None:
        if self.inbound:
            self._release(self.rng.choice(self.inbound))

    def _release(self, message: Message) -> None:
        message = self._mutated(message)
        over = self.model.over_release(message_id(message))
        signatures = self._signatures(over, message)
        actor = self._actor()
        data, sender = release_data(message, signatures.raw), self.bench.actors[actor]
        self._add(
            Step(actor, data, id=message_id(message)),
            lambda: self.model.release(sender, message, signatures.model),
        )

    def _mutated(self, message: Message) -> Message:
        if self.rng.random() > 0.04:
            return message
        name = self.rng.choice(FIELDS)
        if isinstance(message[name], bytes):
            return message | {name: self.rng.choice(self.bench.actors)}
        return message | {name: message[name] + self.rng.choice([1, 7])}

    def _cancel(self) -> None:
        if not self.inbound:
            return
        message, actor = self._mutated(self.rng.choice(self.inbound)), self._actor()
        self._call(
            actor,
            "cancel",
            tuple(message[name] for name in FIELDS),
            id_=message_id(message),
            deed=lambda: self.model.cancel(self.bench.actors[actor], message),
        )

    def _cancel_queued(self) -> None:
        if not self.inbound:
            return
        queued = [one for one in self.inbound if self.model.fates.get(message_id(one)) == 1]
        message, actor = self.rng.choice(queued or list(self.inbound)), self._actor(GUARDIAN)
        self._call(
            actor,
            "cancelQueued",
            tuple(message[name] for name in FIELDS),
            id_=message_id(message),
            deed=lambda: self.model.cancel_queued(self.bench.actors[actor], message),
        )

    def _refund(self) -> None:
        if not self.outbound:
            return
        message, actor = self.rng.choice(self.outbound), self._actor()
        id_ = message_id(message) if self.rng.random() < 0.95 else self.rng.randbytes(32)
        signatures = self._signatures(self.model.over_refund(id_), message)
        self._call(
            actor,
            "refund",
            id_,
            signatures.raw,
            id_=id_,
            deed=lambda: self.model.refund(self.bench.actors[actor], id_, signatures.model),
        )

    def _signatures(self, over: tuple[Any, ...], message: Message) -> Signed:
        rng = self.rng
        known = {key.address: key for key in attestors()}
        current = [known[address] for address in self.model.signers]
        enough = rng.sample(current, rng.randrange(self.model.threshold, len(current) + 1))
        keys: list[Key] = sorted(enough, key=lambda key: key.address)
        if rng.random() < 0.75:
            return signed(keys, over, message)
        ways: dict[str, Callable[[], Signed]] = {
            "too few": lambda: signed(keys[: self.model.threshold - 1], over, message),
            "twice": lambda: signed([keys[0], *keys[:-1]], over, message),
            "unsorted": lambda: signed(keys[::-1], over, message),
            "a stranger": lambda: signed(self._any_keys(), over, message),
            "other": lambda: signed(keys, self._other(over), message),
            "spoilt": lambda: signed(keys, over, message).spoilt(
                rng.randrange(len(keys)), rng.choice(list(SPOILED))
            ),
        }
        return ways[rng.choice(list(ways))]()

    def _any_keys(self) -> list[Key]:
        chosen = self.rng.sample(attestors(), max(1, self.model.threshold))
        return sorted(chosen, key=lambda key: key.address)

    def _other(self, over: tuple[Any, ...]) -> tuple[Any, ...]:
        kind, chain, vault, id_, signer_set = over
        old = self.old_sets[-1] if self.old_sets else bytes(32)
        return self.rng.choice(
            [
                ("refund" if kind == "release" else "release", chain, vault, id_, signer_set),
                (kind, PEER_CHAIN, vault, id_, signer_set),
                (kind, chain, PEER_VAULT, id_, signer_set),
                (kind, chain, vault, keccak(id_), signer_set),
                (kind, chain, vault, id_, old),
            ]
        )

    # ----------------------------------------------------------------------- roles

    def _claim(self) -> None:
        waiting = [
            index
            for index, account in enumerate(self.bench.actors)
            if self.model.unclaimed.get(account)
        ]
        actor, to = self._actor(self.rng.choice(waiting) if waiting else None), self._account()
        sender = self.bench.actors[actor]
        self._call(actor, "claim", to, deed=lambda: self.model.claim(sender, to))

    def _liquidity(self) -> None:
        actor, amount, to = self._actor(PROVIDER), self._amount(), self._account()
        sender = self.bench.actors[actor]
        if self.rng.random() < 0.6:
            self._call(
                actor,
                "addLiquidity",
                value=amount,
                deed=lambda: self.model.add_liquidity(sender, amount),
            )
        else:
            self._call(
                actor,
                "removeLiquidity",
                *(to, amount),
                deed=lambda: self.model.remove_liquidity(sender, to, amount),
            )

    def _owner(self) -> int:
        return self._actor(self.bench.actors.index(self.model.owner))

    def _fees(self) -> None:
        actor, to = self._owner(), self._account()
        amount = self.rng.choice([0, 1, 10**15, self.model.totals()[5]])
        sender = self.bench.actors[actor]
        deed: Deed = lambda: self.model.claim_fees(sender, to, amount)  # noqa: E731
        self._call(actor, "claimFees", to, amount, deed=deed)

    def _pause(self) -> None:
        if self.rng.random() < 0.7:
            return
        actor = self._actor(GUARDIAN)
        self._call(actor, "pause", deed=lambda: self.model.pause(self.bench.actors[actor]))

    def _schedule(self) -> None:
        name = "unpause" if self.model.paused and self.rng.random() < 0.7 else None
        data, call = self._action(name)
        actor = self._owner()
        sender = self.bench.actors[actor]
        self.scheduled.append((data, call))
        deed: Deed = lambda: self.model.schedule(sender, data, call)  # noqa: E731
        self._call(actor, "schedule", data, deed=deed)

    def _action(self, name: str | None) -> tuple[bytes, Call | None]:
        rng = self.rng
        name = name or rng.choice(SETTERS)
        role = (rng.choice([bytes(20), *self.bench.actors]), rng.random() < 0.7)
        values: dict[str, tuple[Any, ...]] = {
            "unpause": (),
            "setSigners": self._signer_list(),
            "setLimit": (self.bench.start.limit * rng.choice([0, 5, 10, 10, 10, 20]) // 10,),
            "setMinimum": (self._least(),),
            "setFee": (rng.choice([0, 1, 30, 100, 101]),),
            "setGuardian": (self.bench.actors[GUARDIAN], True) if rng.random() < 0.5 else role,
            "setLiquidityProvider": (
                (self.bench.actors[PROVIDER], True) if rng.random() < 0.5 else role
            ),
        }
        data = self.bench.vault.data(name, *values[name])
        if rng.random() < 0.04:
            wrong = [b"", data[:3], self.bench.vault.data("pause"), bytes(4)]
            return rng.choice(wrong), None
        if name == "unpause" and rng.random() < 0.1:
            return data + b"\0", None
        return data, (name, values[name])

    def _least(self) -> int:
        # Mostly one below which many amounts fall, sometimes one that deposits of before are below.
        begun, limit = self.bench.start.minimum, self.model.limit
        return int(self.rng.choice([0, 1, begun, begun, 10 * begun, limit // 4, limit, limit + 1]))

    def _signer_list(self) -> tuple[tuple[bytes, ...], int]:
        count = self.rng.randrange(1, 6)
        chosen = sorted(key.address for key in self.rng.sample(attestors(), count))
        if self.rng.random() < 0.1:
            chosen = self.rng.choice([[], chosen[::-1], chosen + chosen[-1:], [bytes(20), *chosen]])
        return tuple(chosen), self.rng.choice([0, 1, 2, count, max(1, count - 1), count + 1])

    def _execute(self) -> None:
        if not self.scheduled:
            return
        ready = [
            one
            for one in self.scheduled
            if self.model.scheduled.get(keccak(one[0]), (2**64,))[0] <= self.model.now
        ]
        data, _ = self.rng.choice(ready or list(self.scheduled))
        actor, before = self._owner(), self.model.signer_set
        sender = self.bench.actors[actor]
        deed: Deed = lambda: self.model.execute(sender, data)  # noqa: E731
        self._call(actor, "execute", data, deed=deed)
        if self.model.signer_set != before:
            self.old_sets.append(before)

    def _unschedule(self) -> None:
        if not self.scheduled:
            return
        action, actor = keccak(self.rng.choice(self.scheduled)[0]), self._owner()
        sender = self.bench.actors[actor]
        deed: Deed = lambda: self.model.unschedule(sender, action)  # noqa: E731
        self._call(actor, "unschedule", action, deed=deed)

    def _own(self) -> None:
        actor, other = self._owner(), self._account()
        sender = self.bench.actors[actor]
        if self.rng.random() < 0.1:
            peer = (PEER_CHAIN + 1, self._account())
            deed: Deed = lambda: self.model.set_peer(sender, *peer)  # noqa: E731
            self._call(actor, "setPeer", *peer, deed=deed)
        elif self.rng.random() < 0.5:
            # To an actor only: nobody could speak for another owner.
            proposed = other if other in self.bench.actors else bytes(20)
            deed = lambda: self.model.propose_owner(sender, proposed)  # noqa: E731
            self._call(actor, "proposeOwner", proposed, deed=deed)
        else:
            pending = self.model.pending
            heirs = [self.bench.actors.index(pending)] if pending in self.bench.actors else []
            actor = self._actor(heirs[0] if heirs else None)
            sender = self.bench.actors[actor]
            self._call(actor, "acceptOwner", deed=lambda: self.model.accept_owner(sender))

    def _feel(self) -> None:
        actor = self.rng.randrange(FIRST_USER, ACTORS)
        # 150,000 is more gas than a receiver gets.
        mood = self.rng.choice([0, 0, 1, 2, 150_000])
        account = self.bench.actors[actor]
        for group, low, high in [(self.model.refusing, 1, 2), (self.model.greedy, 3, 10**6)]:
            (group.add if low <= mood <= high else group.discard)(account)
        self._add(self.bench.feel(actor, mood), lambda: None)

    def _set_directly(self) -> None:
        actor, (data, call) = self.rng.randrange(ACTORS), self._action(None)
        if call is not None and data[-1:] != b"":
            sender = self.bench.actors[actor]
            self._add(Step(actor, data), lambda: self.model.set_directly(sender))


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return [_plain(value) for value in values]
    if isinstance(values, str):
        return bytes.fromhex(values[2:])
    return values
