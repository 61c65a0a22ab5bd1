"""A shard and its successors, a wire that loses, repeats and reorders, and a door's replica.

Whatever the replica answers must be, to the bit, what one of the owners would have answered
within the lease, and keep the laws of incarnations, versions and receipts. `complaints` has
what broke them. Everything is drawn from one source of chance, time is counted here.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from engine import quoting
from engine.buckets import bucket_of
from engine.group import Group
from engine.limits import BUCKETS, STALE_AFTER_BLOCKS
from engine.messages import (
    Block,
    FeedBatch,
    Finalised,
    MarketEvent,
    Preconfirmed,
    QuoteReply,
    QuoteRequest,
    Refusal,
    Reorg,
)
from engine.replica import ASK_FOR, Replica
from engine.states import (
    Beat,
    Entry,
    Numbering,
    Standing,
    place_of,
    state_of,
    touched,
)
from tests.support.scenario import CHAIN_ID, LINEAR, Scenario

ETH = 10**18
BLOCK_TIME_S = 0.5
LEASE_S = 0.2
DEPTH = 6


@dataclass
class Said:
    """What an owner would answer, from when until when."""

    reply: QuoteReply | Refusal
    number: int
    since: float
    until: float | None = None


class Chain:
    """Messages of the feed, in order, with reorganisations."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.scenario = Scenario(seed=chance.randrange(2**16), remember=True)
        self.tokens = [self.scenario.launch("a"), self.scenario.launch("b", LINEAR)]
        self.tokens.append(self.scenario.launch("c"))
        self.headers: list[Any] = []
        self.feed: list[Any] = []
        self.finalised = -1
        self.forks = 0
        self.seal()

    def seal(self) -> None:
        block = self.scenario.seal()
        self.headers.append(block.header)
        self.feed.append(block)

    def go_on(self) -> None:
        """A block, mostly; with a look ahead at it, and sometimes another one than was seen."""
        kind = self.chance.randrange(10)
        if kind == 0 and len(self.headers) > 3:
            self.reorganise(self.chance.randrange(1, 3))
        elif kind == 1:
            number = self.headers[-1].number - 2
            if number > self.finalised:
                self.finalised = number
                self.feed.append(Finalised(CHAIN_ID, number))
        elif kind < 6:
            self.scenario.trade_at_random(self.chance.randrange(1, 4))
            self.seal()
        elif kind == 6:
            self.vanish()
        else:
            self.scenario.trade_at_random(self.chance.randrange(1, 4))
            block = self.scenario.seal()
            self.feed.append(preview_of(block))
            self.headers.append(block.header)
            self.feed.append(block)

    def vanish(self) -> None:
        """What was preconfirmed does not come true."""
        other = self.fork(self.headers[-1])
        self.scenario.trade_at_random(2)
        self.feed.append(preview_of(self.scenario.seal()))
        self.scenario = other
        self.seal()

    def fork(self, header: Any) -> Scenario:
        self.forks += 1
        return self.scenario.fork_at(header, salt=f"fork {self.forks}")

    def reorganise(self, depth: int) -> None:
        ancestor = self.headers[-1 - depth]
        if ancestor.number < self.finalised:
            return
        self.scenario = self.fork(ancestor)
        del self.headers[-depth:]
        self.feed.append(Reorg(CHAIN_ID, ancestor.number, ancestor.hash))


def preview_of(block: Block) -> Preconfirmed:
    events = tuple(
        replace(one, at=replace(one.at, block_hash=None))
        for one in block.events
        if isinstance(one, MarketEvent)
    )
    return Preconfirmed(CHAIN_ID, block.header.number, events)


class Owner:
    """A shard under one incarnation: its group, its numbers, what it would say."""

    def __init__(self, world: "World", incarnation: int, upto: int) -> None:
        self.world = world
        self.group = Group("g", dict.fromkeys(range(BUCKETS), incarnation), DEPTH)
        self.numbering = Numbering()
        self.incarnation = incarnation
        self.at = self.step = 0
        self.beat_at = world.now
        while self.at < upto:
            self.apply(told=False)
        self.note()

    def apply(self, *, told: bool = True) -> None:
        if self.at >= len(self.world.chain.feed):
            return
        message = self.world.chain.feed[self.at]
        self.at += 1
        previewed = self.group.previewed
        changes, _ = self.group.apply(FeedBatch(CHAIN_ID, self.group.position, (message,), 0))
        self.step += 1
        self.beat_at = self.world.now
        tokens = touched([one.token for one in changes], previewed)
        if told:
            for made in self.numbering.changed(self.group, tokens, **self._stands()):
                self.world.wire.append(made)
            self.note()

    def halt(self, token: bytes) -> None:
        if self.group.halt(token, "planted"):
            for made in self.numbering.changed(self.group, [token], **self._stands()):
                self.world.wire.append(made)
            self.note()

    def beat(self) -> None:
        stands = self._stands()
        marks = self.numbering.marks(self.group)
        standing = Standing(stands["place"], stands["silence_ms"], marks)
        self.world.wire.append(Beat(stands["made_ns"], (standing,)))

    def entry(self, token: bytes) -> Entry:
        bucket = bucket_of(token)
        self.numbering.use(bucket)
        seq = self.numbering.seq(bucket)
        return Entry(bucket, self.incarnation, seq, state_of(self.group, token))

    def answer(self, request: QuoteRequest) -> QuoteReply | Refusal:
        """As `actors.shard` does."""
        bucket, timeline = bucket_of(request.token), self.group.timelines.get(request.token)
        if timeline is None or (timeline.sealed is None and timeline.quoted is None):
            return Refusal("token_not_found", "", bucket, self.incarnation)
        if timeline.halted is not None:
            return Refusal("market_halted", "", bucket, self.incarnation)
        market = timeline.sealed if request.sealed else timeline.current
        if market is None:
            return Refusal("token_not_found", "", bucket, self.incarnation)
        as_of = self.group.as_of(timeline, bucket, sealed=request.sealed)
        return quoting.answer(market, request, as_of=as_of, bucket=bucket)

    def note(self) -> None:
        """What is said from now on."""
        for request in self.world.requests:
            said = self.world.said.setdefault((self.incarnation, request), [])
            reply, number = self.answer(request), self.group.position.number
            if said and said[-1].reply == reply and said[-1].number == number:
                continue
            if said:
                said[-1].until = self.world.now
            said.append(Said(reply, number, self.world.now))

    def _stands(self) -> dict[str, Any]:
        silence_ms = int((self.world.now - self.beat_at) * 1e3) + 1
        made_ns = int(self.world.now * 1e9)
        place = place_of(self.group, self.step)
        return {"place": place, "silence_ms": silence_ms, "made_ns": made_ns}


@dataclass
class World:
    """`kind` makes the replica; `faults` is how bad the wire is, 0 to 1. Two of three markets are
    asked for at a time, as many as fit in; `fickle` is how often it is others.
    """

    chance: Random
    kind: type[Replica] = Replica
    faults: float = 0.3
    fickle: float = 0.1
    now: float = 100.0
    wire: list[Any] = field(default_factory=list)
    questions: list[tuple[bytes, int]] = field(default_factory=list)
    replies: list[tuple[Entry, int]] = field(default_factory=list)
    said: dict[Any, list[Said]] = field(default_factory=dict)
    incarnations: dict[int, int] = field(default_factory=dict)
    versions: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    blocks: dict[bytes, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    served: int = 0
    whys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chain = Chain(self.chance)
        self.liked = self.chain.tokens[:2]
        self.requests = [
            request
            for token in self.chain.tokens
            for request in (
                QuoteRequest(token, True, False, ETH // 1_000),
                QuoteRequest(token, False, True, 10**6),
                QuoteRequest(token, True, True, 10**24, sealed=True),
                QuoteRequest(token, False, False, 10**20, for_block=4),
            )
        ]
        self.replica = self.kind(
            block_time_s=BLOCK_TIME_S, lease_s=LEASE_S, markets_max=2, floors_max=2
        )
        self.owners = [Owner(self, 1, len(self.chain.feed))]

    def play(self, steps: int) -> None:
        """Chance decides what happens; after each step everything is asked for."""
        for _ in range(steps):
            self.chance.choice(_DEEDS)(self)
            self.deliver()
            self.ask()

    # ------------------------------------------------------------------------- deeds

    def trade(self) -> None:
        self.chain.go_on()
        for owner in self.owners[-2:]:
            # Who was overtaken may go on for a while, or stand still.
            if owner is self.owners[-1] or self.chance.random() < 0.5:
                while owner.at < len(self.chain.feed):
                    owner.apply()

    def live(self) -> None:
        self.now += self.chance.choice((0.01, 0.04, 0.04, 0.1))
        for owner in self.owners[-2:]:
            if owner is self.owners[-1] or self.chance.random() < 0.7:
                owner.beat()

    def silence(self) -> None:
        self.now += self.chance.choice((0.15, 0.25, 3.0))

    def take(self) -> None:
        upto = max(len(self.chain.feed) - self.chance.randrange(2), 1)
        self.owners.append(Owner(self, self.owners[-1].incarnation + 1, upto))
        if self.chance.random() < 0.5:
            for token in self.chain.tokens:
                self.tell_owner(bucket_of(token), self.owners[-1].incarnation)

    def halt(self) -> None:
        if self.chance.random() < 0.2:
            self.owners[-1].halt(self.chance.choice(self.chain.tokens))

    def name(self) -> None:
        """A tick, or another answer, names the version of a market."""
        token = self.chance.choice(self.chain.tokens)
        owner = self.owners[-1]
        timeline = owner.group.timelines.get(token)
        if timeline is not None:
            self.see(token, (owner.incarnation, timeline.changes))

    def mine(self) -> None:
        """A receipt of the newest block, or of the one that is still open."""
        token = self.chance.choice(self.chain.tokens)
        number = self.chain.headers[-1].number + self.chance.randrange(2)
        self.blocks[token] = max(self.blocks.get(token, -1), number)
        self.replica.mined(token, number)

    def cut(self) -> None:
        if self.chance.random() < 0.3:
            self.wire.clear()
            self.replica.cut()

    def forget(self) -> None:
        if self.chance.random() < 0.2:
            self.owners[-1].numbering.unused()

    def forget_one(self) -> None:
        """The owner takes it that nobody hears a bucket, rightly or not."""
        if self.chance.random() < 0.3:
            self.owners[-1].numbering.drop(bucket_of(self.chance.choice(self.chain.tokens)))

    # ------------------------------------------------------------------------- the wire

    def deliver(self) -> None:
        """What is under way arrives, or not, or twice, or in another order."""
        kept: list[Any] = []
        for message in self.wire:
            fate = self.chance.random()
            if fate < self.faults / 3:
                continue
            if fate < self.faults:
                kept.append(message)
                if fate > self.faults / 2:
                    continue
            self.tell(message)
        self.wire = kept
        if self.faults and self.chance.random() < self.faults:
            self.chance.shuffle(self.wire)
        self.correspond()

    def tell(self, message: Any) -> None:
        made_at = message.made_ns / 1e9
        if isinstance(message, Beat):
            for mark in (mark for one in message.standings for mark in one.marks):
                self.know(mark.bucket, mark.incarnation)
            self.replica.beat(message, made_at)
            return
        self.know(message.bucket, message.incarnation)
        heard = message.bucket not in self.replica.unheard
        for state in message.states if heard and message.bucket in self.replica.used else ():
            self.note_version(state.token, (message.incarnation, state.changes))
        self.replica.states(message, made_at)

    def correspond(self) -> None:
        """Questions for whole markets, each on its way for a while, there and back."""
        for bucket in self.replica.unheard:
            self.replica.listening(bucket)
        self.questions += self.replica.to_ask(self.now, 10)
        slow = self.faults / 2
        for token, ticket in list(self.questions):
            if self.chance.random() >= slow:
                self.questions.remove((token, ticket))
                late = len(self.owners) > 1 and self.chance.random() < slow
                self.replies.append((self.owners[-2 if late else -1].entry(token), ticket))
        for entry, ticket in list(self.replies):
            if self.chance.random() >= slow:
                self.replies.remove((entry, ticket))
                self.replica.entry(entry, ticket)

    def know(self, bucket: int, incarnation: int) -> None:
        heard = bucket in self.replica.used and bucket not in self.replica.unheard
        if heard:
            self.incarnations[bucket] = max(self.incarnations.get(bucket, 0), incarnation)

    def tell_owner(self, bucket: int, incarnation: int) -> None:
        self.incarnations[bucket] = max(self.incarnations.get(bucket, 0), incarnation)
        self.replica.owned(bucket, incarnation)

    def see(self, token: bytes, version: tuple[int, int]) -> None:
        self.note_version(token, version)
        self.replica.saw(token, version)

    def note_version(self, token: bytes, version: tuple[int, int]) -> None:
        bucket = bucket_of(token)
        self.versions[token] = max(self.versions.get(token, (0, 0)), version)
        self.incarnations[bucket] = max(self.incarnations.get(bucket, 0), version[0])

    # ----------------------------------------------------------------------- the oracle

    def ask(self) -> None:
        if self.chance.random() < self.fickle:
            self.liked = self.chance.sample(self.chain.tokens, 2)
        for request in self.requests:
            if request.token not in self.liked:
                continue
            answer = self.replica.answer(request, self.now)
            if isinstance(answer, str):
                self.whys.add(answer)
                # The shard answers, and its answer names a version.
                if answer in ASK_FOR and self.chance.random() < 0.3:
                    self.replica.use(request.token)
                continue
            self.served += 1
            wrong = self.judge(request, answer)
            if wrong:
                self.complaints.append(f"{wrong}: {request} {answer}")

    def judge(self, request: QuoteRequest, reply: QuoteReply | Refusal) -> str:
        token = request.token
        refused = isinstance(reply, Refusal)
        incarnation = reply.incarnation if refused else reply.as_of.version[0]
        if incarnation < self.incarnations.get(bucket_of(token), 0):
            return "a lower incarnation"
        if not refused and reply.as_of.version < self.versions.get(token, (0, 0)):
            return "a lower version than was named"
        owner = next(one for one in self.owners if one.incarnation == incarnation)
        if self.now - owner.beat_at > STALE_AFTER_BLOCKS * BLOCK_TIME_S:
            return "the owner says stale_chain"
        same = [one for one in self.said[incarnation, request] if one.reply == reply]
        return self.judge_time(same, self.blocks.get(token, -1))

    def judge_time(self, same: list[Said], mined: int) -> str:
        if not same:
            return "nothing that the owner ever said"
        since = self.now - LEASE_S - 1e-6
        recent = [one for one in same if one.until is None or one.until >= since]
        if not recent:
            return "older than the lease"
        if all(one.number < mined for one in recent):
            return "without the block of a receipt"
        return ""


_DEEDS = (
    *[World.trade] * 4,
    *[World.live] * 8,
    World.silence,
    World.take,
    World.halt,
    World.name,
    World.mine,
    World.cut,
    World.forget,
    World.forget_one,
)
