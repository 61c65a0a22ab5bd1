"""A group of buckets at one position of the feed: every market in it stands on one block.

`apply` takes a `FeedBatch` and gives the changes to publish. The cases, in order:
  1. the batch does not follow our position: nothing is applied, the position is answered;
  2. Block: every market changes at once, then the position moves; what was preconfirmed for
     it and is not in it is retracted;
  3. Reorg: values above the ancestor are popped, what was shown of them is retracted, the
     position moves back;
  4. Finalised: the marker moves;
  5. Preconfirmed: folded on the tip until the seal, the position stays.
A market whose events do not add up is halted and stays so; the others go on. One whose
first events do not add up is `broken`: there is no value of it at all.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from curves.values import value
from engine.buckets import bucket_of
from engine.errors import ConsistencyError
from engine.limits import GONE_MAX, SAID_BLOCKS
from engine.market import Effect, Launched, Market
from engine.messages import (
    FINALISED,
    PRECONFIRMED,
    SEALED,
    AsOf,
    Block,
    FeedBatch,
    FeedMessage,
    FeedPosition,
    MarketEvent,
    PoolSwapped,
    Preconfirmed,
    Reorg,
    TokenCreated,
    Traded,
)
from engine.said import Recent
from engine.timeline import Timeline, fold

NOWHERE = FeedPosition(-1, bytes(32))


@value
class Shown:
    """A trade or launch that was published, as far as taking it back needs it."""

    token: bytes
    type: str
    user: bytes
    tx_hash: bytes
    position: int
    log_index: int
    block_number: int


@value
class Change:
    """One market changed: what it is now, what came of sealed or preconfirmed events, and
    what was shown and is not true any more. `market` None: its launch was taken back.
    `as_of` is the market's, `events_as_of` that of the effects. `halted` says why the market is
    not served, and is empty for one that is. `received_ns` is when the frame came that the market
    tells of, not the effects: at a seal below an open block that of the open one. `back_to` is
    the ancestor, where a reorg took it back. `again`: effects were shown before, preconfirmed.
    """

    token: bytes
    bucket: int
    market: Market | None
    as_of: AsOf
    events_as_of: AsOf
    effects: tuple[Effect, ...]
    retracted: tuple[Shown, ...]
    received_ns: int
    halted: str = ""
    back_to: FeedPosition | None = None
    again: bool = False


@dataclass(slots=True)
class _Gone:
    changes: int
    seq: int


@dataclass(slots=True)
class Group:
    """`incarnations` has our number for each bucket; `hashes` the window's block hashes. `stopped`
    are markets that are not served any more, with the block where that was found.
    """

    name: str
    incarnations: dict[int, int]
    reorg_depth: int
    position: FeedPosition = NOWHERE
    finalised: int = -1
    timelines: dict[bytes, Timeline] = field(default_factory=dict)
    broken: dict[bytes, str] = field(default_factory=dict)
    stopped: dict[bytes, int] = field(default_factory=dict)
    hashes: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    dirty: set[int] = field(default_factory=set)
    recent: Recent = field(default_factory=Recent)
    _in_window: set[bytes] = field(default_factory=set)
    _previewed: set[bytes] = field(default_factory=set)
    _shown: OrderedDict[int, list[Shown]] = field(default_factory=OrderedDict)
    _broken_at: dict[bytes, int] = field(default_factory=dict)
    _gone: OrderedDict[bytes, _Gone] = field(default_factory=OrderedDict)

    @property
    def base(self) -> int:
        """The lowest block that a reorg may leave as the tip."""
        return max(self.position.number - self.reorg_depth, -1)

    @property
    def halted(self) -> dict[bytes, str]:
        """Markets that are not served, with the reason."""
        stopped = {t: line.halted for t in self.stopped if (line := self.timelines[t]).halted}
        return self.broken | stopped

    @property
    def previewed(self) -> frozenset[bytes]:
        """Markets with something preconfirmed above the tip."""
        return frozenset(self._previewed)

    def changed_in_window(self, limit: int) -> list[bytes]:
        """Markets that changed inside the window, at most `limit` of them."""
        return list(islice(self._in_window, limit))

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
        self.recent.lack(block)

    def replay(self, event: MarketEvent, *, cursor: int) -> None:
        """Apply one recorded event of those up to `cursor`; nothing is published for it."""
        number = event.at.block_number
        effects, _ = self._seal_market(event.token, number, [event])
        applied = [effect.event for effect in effects]
        if number > cursor - self.reorg_depth:
            self._show(number, applied)
        if number > cursor - SAID_BLOCKS:
            self.recent.keep(number, applied)

    def recovered(self, position: FeedPosition, trail: Iterable[FeedPosition] = ()) -> None:
        """Recovery reached `position`; `trail` has recorded blocks up to it, any order."""
        self.position = position
        known = {one.number: one.hash for one in trail if one.number < position.number}
        if position.number >= 0:
            known[position.number] = position.hash
        self.hashes = OrderedDict(sorted(known.items()))
        self._trim()

    def trail(self) -> tuple[FeedPosition, ...]:
        """Blocks of the window that we stood on, newest first."""
        return tuple(FeedPosition(n, h) for n, h in reversed(self.hashes.items()))

    def stood_on(self, block: FeedPosition) -> bool:
        """Whether it is surely on our chain; of one below the window that may not be known."""
        known = self.hashes.get(block.number) or self.recent.hash_of(block.number)
        return block.number < 0 or known == block.hash

    def as_of(self, timeline: Timeline, bucket: int, *, sealed: bool = False) -> AsOf:
        """The state that an answer about this market names."""
        version = (self.incarnations[bucket], timeline.changes)
        if timeline.quoted is not None and not sealed:
            newest = timeline.overlay[-1].at
            return AsOf(newest.block_number, None, newest.log_index, PRECONFIRMED, version)
        status = FINALISED if self.position.number <= self.finalised else SEALED
        log_index = timeline.sealed.log_index if timeline.sealed else -1
        return AsOf(self.position.number, self.position.hash, log_index, status, version)

    def drop(self, buckets: frozenset[int]) -> None:
        """Forget buckets that another shard owns now."""
        for bucket in buckets & self.incarnations.keys():
            del self.incarnations[bucket]
        gone = [token for token in self.timelines if bucket_of(token) in buckets]
        for token in gone:
            self._remove(token)
        for token in [token for token in self.broken if bucket_of(token) in buckets]:
            del self.broken[token], self._broken_at[token]

    def halt(self, token: bytes, reason: str, *, block: int | None = None) -> bool:
        """Serve this market no more, for what was found at `block`, or where we stand; whether it
        was served.
        """
        timeline = self.timelines.get(token)
        if timeline is None or timeline.halted is not None:
            return False
        timeline.halted = reason
        timeline.changes += 1
        self.stopped[token] = self.position.number if block is None else block
        return True

    def own(self, incarnations: Mapping[int, int], unsaid: Iterable[Change]) -> list[Change]:
        """What was followed without owning it is ours from now on, as far as it is in
        `incarnations`; the rest is dropped. The changes `unsaid` until now, with our numbers.
        """
        self.drop(frozenset(self.incarnations.keys() - incarnations.keys()))
        self.incarnations = dict(incarnations)
        return [
            _stamped(one, incarnations[one.bucket]) for one in unsaid if one.bucket in incarnations
        ]

    def owns(self, token: bytes) -> bool:
        """Whether the token's bucket is in this group."""
        return bucket_of(token) in self.incarnations

    def change(
        self,
        token: bytes,
        *,
        effects: tuple[Effect, ...] = (),
        retracted: Iterable[Shown] = (),
        received_ns: int = 0,
        sealed: bool = True,
        again: bool = False,
    ) -> Change:
        """The market as it stands, with what came of events. KeyError: never heard of."""
        bucket, timeline = bucket_of(token), self.timelines.get(token)
        if timeline is None:
            version = (self.incarnations[bucket], self._gone[token].changes)
            nothing = AsOf(self.position.number, self.position.hash, -1, SEALED, version)
            market, as_of, events_as_of = None, nothing, nothing
        else:
            # A preconfirmed launch whose overlay was dropped has no value until the seal.
            market, as_of = timeline.quoted or timeline.sealed, self.as_of(timeline, bucket)
            events_as_of = as_of
            if sealed and timeline.quoted is not None:
                events_as_of = self.as_of(timeline, bucket, sealed=True)
        return Change(
            token,
            bucket,
            market,
            as_of,
            events_as_of,
            effects,
            tuple(retracted),
            received_ns,
            self._why_halted(token),
            again=again,
        )

    def is_numbered(self, token: bytes) -> bool:
        """Whether it has a topic: nobody can have subscribed to a token of which there never was a
        value.
        """
        return token in self.timelines or token in self._gone

    def next_seq(self, token: bytes) -> int:
        """The number of the next message of this token's topic."""
        counter = self.timelines.get(token) or self._gone[token]
        counter.seq += 1
        return counter.seq

    # ------------------------------------------------------------------- private

    def _why_halted(self, token: bytes) -> str:
        timeline = self.timelines.get(token)
        return (timeline.halted if timeline else self.broken.get(token)) or ""

    def _remove(self, token: bytes) -> None:
        del self.timelines[token]
        self._in_window.discard(token)
        self._previewed.discard(token)
        self.stopped.pop(token, None)

    def _new_timeline(self, token: bytes, confirmed: list[tuple[int, Market]]) -> Timeline:
        # A token that was launched, voided and launched again goes on numbering.
        before = self._gone.pop(token, _Gone(0, 0))
        made = Timeline(confirmed, changes=before.changes + 1, seq=before.seq)
        self.timelines[token] = made
        return made

    def _apply_one(self, message: FeedMessage) -> list[Change]:
        if isinstance(message, Block):
            return self._apply_block(message)
        if isinstance(message, Preconfirmed):
            return self._preview(message)
        if isinstance(message, Reorg):
            return self._pop(message)
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
        by_token = self._ours(block.events)
        for token in self._previewed - by_token.keys():
            by_token[token] = []
        self.position = FeedPosition(header.number, header.hash)
        self.hashes[header.number] = header.hash
        changes: list[Change] = []
        applied: list[MarketEvent] = []
        for token, events in by_token.items():
            known, before = self._why_halted(token), self.timelines.get(token)
            again = before is not None and bool(before.overlay)
            effects, retracted = self._seal_market(token, header.number, events)
            if self._why_halted(token) != known and self.is_numbered(token):
                changes.append(self.change(token))
            elif effects or retracted:
                applied += [effect.event for effect in effects]
                back = [one for event in retracted if (one := shown_of(event)) is not None]
                timeline, heard_ns = self.timelines.get(token), block.received_ns
                if timeline is not None and timeline.quoted is not None:
                    heard_ns = timeline.heard_ns
                made = self.change(
                    token, effects=effects, retracted=back, received_ns=heard_ns, again=again
                )
                changes.append(made)
        self._show(header.number, applied)
        self.recent.keep(header.number, applied)
        self._trim()
        return changes

    def _ours(self, events: Iterable[object]) -> dict[bytes, list[MarketEvent]]:
        by_token: dict[bytes, list[MarketEvent]] = {}
        for event in events:
            if not isinstance(event, MarketEvent):
                continue
            mine = by_token.get(event.token)
            if mine is not None:
                mine.append(event)
            # A bucket that was given away may still be fed until the listener hears of it.
            elif self.owns(event.token):
                by_token[event.token] = [event]
        return by_token

    def _seal_market(
        self, token: bytes, block: int, events: list[MarketEvent]
    ) -> tuple[tuple[Effect, ...], tuple[MarketEvent, ...]]:
        if token in self.broken:
            return (), ()
        timeline = self.timelines.get(token)
        if events:
            self.dirty.add(bucket_of(token))
        try:
            if timeline is None:
                market, effects = fold(None, events)
                self._new_timeline(token, [(block, market)])
                retracted: tuple[MarketEvent, ...] = ()
            elif timeline.halted:
                return (), ()
            else:
                effects, retracted = timeline.seal(block, events)
        except ConsistencyError as error:
            self._stop(token, timeline, reason=str(error), block=block)
            return (), ()
        if events:
            self._in_window.add(token)
        self._settle_preview(token)
        return effects, retracted

    def _stop(self, token: bytes, timeline: Timeline | None, *, reason: str, block: int) -> None:
        if timeline is not None and timeline.confirmed:
            self.halt(token, reason, block=block)
            return
        self.broken[token], self._broken_at[token] = reason, block
        if timeline is not None:
            self._forget(token)

    def _settle_preview(self, token: bytes) -> None:
        timeline = self.timelines[token]
        if not timeline.confirmed and not timeline.overlay:
            self._forget(token)
        elif not timeline.overlay and not timeline.blind:
            self._previewed.discard(token)

    def _forget(self, token: bytes) -> None:
        timeline = self.timelines[token]
        self._gone[token] = _Gone(timeline.changes, timeline.seq)
        while len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)
        self._remove(token)

    def _preview(self, message: Preconfirmed) -> list[Change]:
        if message.block_number <= self.position.number:
            return []
        changes = []
        for token, events in self._ours(message.events).items():
            timeline = self.timelines.get(token) or self._expected(token, events)
            if timeline is None or token in self.broken:
                continue
            changed, effects = timeline.changes, timeline.preview(events)
            self._previewed.add(token)
            if timeline.changes != changed:
                timeline.heard_ns = message.received_ns
                made = self.change(
                    token, effects=effects, received_ns=message.received_ns, sealed=False
                )
                changes.append(made)
        return changes

    def _expected(self, token: bytes, events: list[MarketEvent]) -> Timeline | None:
        # A market whose launch is only preconfirmed; without the launch there is nothing.
        if not isinstance(events[0], TokenCreated) or token in self.broken:
            return None
        return self._new_timeline(token, [])

    def _show(self, block: int, events: Iterable[MarketEvent]) -> None:
        shown = [one for event in events if (one := shown_of(event)) is not None]
        if shown:
            self._shown.setdefault(block, []).extend(shown)

    def _pop(self, reorg: Reorg) -> list[Change]:
        if reorg.ancestor_number < self.base:
            raise ConsistencyError(
                "reorg_too_deep", f"Expected at least {self.base}, was {reorg.ancestor_number}"
            )
        ancestor = reorg.ancestor_number
        shown: dict[bytes, list[Shown]] = {}
        for number in [number for number in self._shown if number > ancestor]:
            for one in self._shown.pop(number):
                shown.setdefault(one.token, []).append(one)
        for number in [number for number in self.hashes if number > ancestor]:
            del self.hashes[number]
        self.recent.pop_above(ancestor)
        self.position = FeedPosition(ancestor, reorg.ancestor_hash)
        touched = [t for t in self._in_window if self.timelines[t].tip.block > ancestor]
        changes = []
        for token in dict.fromkeys([*touched, *self._previewed]):
            changes.append(self._popped(token, ancestor, shown.get(token, [])))
        for token in [token for token, at in self._broken_at.items() if at > ancestor]:
            del self.broken[token], self._broken_at[token]
        return changes

    def _popped(self, token: bytes, ancestor: int, shown: list[Shown]) -> Change:
        self.dirty.add(bucket_of(token))
        timeline = self.timelines[token]
        voided = timeline.pop_above(ancestor)
        shown += [one for event in voided if (one := shown_of(event)) is not None]
        self._previewed.discard(token)
        if not timeline.confirmed:
            self._forget(token)
        return replace(self.change(token, retracted=shown), back_to=self.position)

    def _trim(self) -> None:
        base = self.base
        self.recent.trim(self.position.number)
        for token in list(self._in_window):
            confirmed = self.timelines[token].confirmed
            # Most have nothing to forget, and all in the window are looked at with every block.
            if len(confirmed) > 1 and confirmed[1][0] <= base:
                self.timelines[token].forget_below(base)
            if len(confirmed) == 1 and confirmed[0][0] <= base:
                self._in_window.discard(token)
        while self.hashes and next(iter(self.hashes)) < base:
            self.hashes.popitem(last=False)
        while self._shown and next(iter(self._shown)) <= base:
            self._shown.popitem(last=False)


def _stamped(change: Change, incarnation: int) -> Change:
    def stamped(as_of: AsOf) -> AsOf:
        return replace(as_of, version=(incarnation, as_of.version[1]))

    return replace(change, as_of=stamped(change.as_of), events_as_of=stamped(change.events_as_of))


def shown_of(event: MarketEvent) -> Shown | None:
    """What a `transaction` message shows of an event; None for one without."""
    at = event.at
    if isinstance(event, (Traded, PoolSwapped)):
        kind, user = "BUY" if event.is_buy else "SELL", event.trader
    elif isinstance(event, TokenCreated):
        kind, user = "CREATE", event.creator
    else:
        return None
    return Shown(event.token, kind, user, at.tx_hash, at.position, at.log_index, at.block_number)


def launches(effects: tuple[Effect, ...]) -> bool:
    """Whether a market was born by these effects."""
    return any(isinstance(effect, Launched) for effect in effects)
