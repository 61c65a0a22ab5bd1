"""A group of buckets at one position of the feed: every market in it stands on one block.

`apply` takes a `FeedBatch` and gives the changes to publish. The cases, in order:
  1. the batch does not follow our position: nothing is applied, the position is answered;
  2. Block: every market changes at once, then the position moves;
  3. Reorg: values above the ancestor are popped, the position moves back;
  4. Finalised: the marker moves;
  5. Preconfirmed: kept above the tip until the seal.
A market whose events do not add up is halted and stays so; the others go on. One whose
first events do not add up is `broken`: there is no value of it at all.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from engine.buckets import bucket_of
from engine.errors import ConsistencyError
from engine.market import Effect, Launched, Market
from engine.messages import (
    AsOf,
    Block,
    Completed,
    FeedBatch,
    FeedMessage,
    FeedPosition,
    Finalised,
    MarketEvent,
    Reorg,
    TokenCreated,
    Traded,
)
from engine.timeline import Timeline, fold

NOWHERE = FeedPosition(-1, bytes(32))


@dataclass(frozen=True, slots=True)
class Change:
    """One market changed by one block."""

    token: bytes
    bucket: int
    timeline: Timeline
    effects: tuple[Effect, ...]
    received_ns: int


@dataclass(slots=True)
class Group:
    """`incarnations` has our number for each bucket; `hashes` the window's block hashes."""

    name: str
    incarnations: dict[int, int]
    reorg_depth: int
    position: FeedPosition = NOWHERE
    finalised: int = -1
    timelines: dict[bytes, Timeline] = field(default_factory=dict)
    broken: dict[bytes, str] = field(default_factory=dict)
    stopped: set[bytes] = field(default_factory=set)
    hashes: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    dirty: set[int] = field(default_factory=set)
    _in_window: set[bytes] = field(default_factory=set)

    @property
    def base(self) -> int:
        """The lowest block that a reorg may leave as the tip."""
        return max(self.position.number - self.reorg_depth, -1)

    @property
    def halted(self) -> dict[bytes, str]:
        """Markets that are not served, with the reason."""
        stopped = {t: line.halted for t in self.stopped if (line := self.timelines[t]).halted}
        return self.broken | stopped

    def buckets_in_window(self) -> set[int]:
        """Buckets with a market that changed inside the window."""
        return {bucket_of(token) for token in self._in_window}

    def apply(self, batch: FeedBatch) -> tuple[list[Change], bool]:
        """(changes, whether anything was applied). A stale or early batch applies nothing."""
        if batch.after != self.position:
            return [], False
        changes: list[Change] = []
        for message in batch.messages:
            changes.extend(self._apply_one(message))
        return changes, bool(batch.messages)

    def restore(self, market: Market, block: int) -> None:
        """Put in a market from a snapshot taken at `block`."""
        self.timelines[market.token] = Timeline([(block, market)])

    def replay(self, event: MarketEvent) -> None:
        """Apply one recorded event during recovery; nothing is published for it."""
        self._seal_market(event.token, event.at.block_number, [event])

    def recovered(self, position: FeedPosition) -> None:
        """Recovery reached `position`; the window goes on from there."""
        self.position = position
        if position.number >= 0:
            self.hashes[position.number] = position.hash
        self._trim()

    def as_of(self, timeline: Timeline, bucket: int) -> AsOf:
        """The state that an answer about this market names."""
        status = "finalised" if self.position.number <= self.finalised else "sealed"
        return AsOf(
            block_number=self.position.number,
            block_hash=self.position.hash,
            log_index=timeline.tip.log_index,
            status=status,
            version=(self.incarnations[bucket], timeline.changes),
        )

    def drop(self, buckets: frozenset[int]) -> None:
        """Forget buckets that another shard owns now."""
        for bucket in buckets & self.incarnations.keys():
            del self.incarnations[bucket]
        gone = [token for token in self.timelines if bucket_of(token) in buckets]
        for token in gone:
            self._remove(token)

    def _owns(self, token: bytes) -> bool:
        return bucket_of(token) in self.incarnations

    def _remove(self, token: bytes) -> None:
        del self.timelines[token]
        self._in_window.discard(token)
        self.stopped.discard(token)

    def _apply_one(self, message: FeedMessage) -> list[Change]:
        if isinstance(message, Block):
            return self._apply_block(message)
        if isinstance(message, Reorg):
            self._pop(message)
        elif isinstance(message, Finalised):
            self.finalised = max(self.finalised, message.number)
        return []

    def _apply_block(self, block: Block) -> list[Change]:
        header = block.header
        follows = header.number == self.position.number + 1
        if header.number <= self.position.number or (
            follows and self.position.number >= 0 and header.parent_hash != self.position.hash
        ):
            raise ConsistencyError(
                "broken_chain", f"Expected a child of {self.position}, was {header}"
            )
        by_token: dict[bytes, list[MarketEvent]] = {}
        for event in block.events:
            # A bucket that was given away may still be fed until the listener hears of it.
            if isinstance(event, TokenCreated | Traded | Completed) and self._owns(event.token):
                by_token.setdefault(event.token, []).append(event)
        self.position = FeedPosition(header.number, header.hash)
        self.hashes[header.number] = header.hash
        changes = [
            Change(token, bucket_of(token), self.timelines[token], effects, block.received_ns)
            for token, events in by_token.items()
            if (effects := self._seal_market(token, header.number, events))
        ]
        self._trim()
        return changes

    def _seal_market(
        self, token: bytes, block: int, events: list[MarketEvent]
    ) -> tuple[Effect, ...]:
        if token in self.broken:
            return ()
        timeline = self.timelines.get(token)
        self.dirty.add(bucket_of(token))
        try:
            if timeline is None:
                market, effects = fold(None, events)
                self.timelines[token] = Timeline([(block, market)], changes=1)
            elif timeline.halted:
                return ()
            else:
                effects = timeline.seal(block, events)
        except ConsistencyError as error:
            if timeline is None:
                self.broken[token] = str(error)
                return ()
            timeline.halted = str(error)
            timeline.changes += 1
            self.stopped.add(token)
            return ()
        self._in_window.add(token)
        return effects

    def _pop(self, reorg: Reorg) -> None:
        if reorg.ancestor_number < self.base:
            raise ConsistencyError(
                "reorg_too_deep", f"Expected at least {self.base}, was {reorg.ancestor_number}"
            )
        for token in list(self._in_window):
            self.dirty.add(bucket_of(token))
            if not self.timelines[token].pop_above(reorg.ancestor_number):
                self._remove(token)
        for number in [n for n in self.hashes if n > reorg.ancestor_number]:
            del self.hashes[number]
        self.position = FeedPosition(reorg.ancestor_number, reorg.ancestor_hash)

    def _trim(self) -> None:
        base = self.base
        for token in list(self._in_window):
            timeline = self.timelines[token]
            timeline.forget_below(base)
            if len(timeline.confirmed) == 1 and timeline.confirmed[0][0] <= base:
                self._in_window.discard(token)
        while self.hashes and next(iter(self.hashes)) < base:
            self.hashes.popitem(last=False)


def launches(effects: tuple[Effect, ...]) -> bool:
    """Whether a market was born by these effects."""
    return any(isinstance(effect, Launched) for effect in effects)
