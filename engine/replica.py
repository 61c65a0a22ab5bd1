"""A door's read replica of the markets in use: what it may answer, and what it is told.

It answers what the shard would answer at the same version, to the bit, or says why not, and
the shard is asked. It may answer about a market when all of these hold:
  1. it was given the market whole, and has heard every message of its bucket since;
  2. that is under the highest incarnation of the bucket that anybody named here;
  3. the bucket's newest beat was made no longer ago than the lease;
  4. the shard itself would not call the chain stale, and the market is not halted;
  5. nobody named a higher version of the market here, and the block of every receipt that was
     seen here is sealed in it.

What it is told of a bucket, in the order of the code of `states` and `beat`:
  a lower incarnation: refused;
  a higher one: what was known of the bucket is void;
  a number that was heard, or an older one: late, it says nothing new;
  one that is not the next: a gap. What stood before it is void, the bucket goes on from there;
  the next: its markets are taken over, and the bucket stands where the message says.

Times are seconds of one clock. `made_at` is when a message was made, or came where that is not
known: never later than it came.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf

from engine import quoting
from engine.buckets import bucket_of
from engine.limits import (
    REPLICA_FLOORS_MAX,
    REPLICA_LEASE_S,
    REPLICA_MARKETS_MAX,
    STALE_AFTER_BLOCKS,
)
from engine.messages import QuoteReply, QuoteRequest, Refusal
from engine.states import Beat, BucketStates, Entry, MarketState, Place, Standing, Told, as_of

ASK_AGAIN_S = 0.25
"""A market's whole state is asked for once in this time: the shard may be away."""

UNHELD, UNHEARD, BEHIND = "unheld", "unheard", "behind"
STALE, CHAIN_STALE, FLOOR, NO_VALUE = "stale", "chain_stale", "floor", "no_value"
WHYS = (UNHELD, UNHEARD, BEHIND, STALE, CHAIN_STALE, FLOOR, NO_VALUE)
"""Why a quote goes to the shard. NO_VALUE: halted, or no launch: the shard says which."""

ASK_FOR = frozenset({UNHELD, UNHEARD, BEHIND, STALE})
"""Reasons that end once the shard has given the market's whole state."""


@dataclass(slots=True)
class _Bucket:
    """Every message above `since` and up to `seq` was heard."""

    incarnation: int
    since: int
    seq: int
    place: Place
    made_ns: int
    made_at: float
    head_at: float


@dataclass(slots=True)
class _Held:
    """A market in use. `state` is as after message `seq` of its bucket; None: to be asked for.

    Until it was `entered`, by an answer to a question that was put with its `ticket`, that is
    after it came into use, nothing is known of the versions that were named here before.

    `ready` is `state` made ready where its bucket stood at `ready_at`.
    """

    bucket: int
    ticket: int
    entered: bool = False
    state: MarketState | None = None
    incarnation: int = 0
    seq: int = 0
    floor: tuple[int, int] = (0, 0)
    ask_at: float = 0.0
    ready: quoting.Quotable | None = None
    ready_at: Place | None = None


@dataclass(slots=True)
class _Used:
    """The markets in use of one bucket, and whether its messages come."""

    tokens: set[bytes] = field(default_factory=set)
    heard: bool = False


class Replica:
    """Pure but for its own memory, which is bounded; it has no clock. `age_s` is how long before
    the last answer it was known to be so.
    """

    def __init__(
        self,
        *,
        block_time_s: float,
        lease_s: float = REPLICA_LEASE_S,
        markets_max: int = REPLICA_MARKETS_MAX,
        floors_max: int = REPLICA_FLOORS_MAX,
    ) -> None:
        self._chain_stale_s = STALE_AFTER_BLOCKS * block_time_s
        self._lease_s = lease_s
        self._markets_max = markets_max
        self._floors_max = floors_max
        self.age_s = 0.0
        self._tickets = 0
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._waiting: dict[bytes, None] = {}
        self._used: dict[int, _Used] = {}
        self._buckets: dict[int, _Bucket] = {}
        self._incarnations: dict[int, int] = {}
        self._mined: OrderedDict[bytes, int] = OrderedDict()
        self._mined_any = -1

    # ---------------------------------------------------------------------- the answer

    def answer(self, request: QuoteRequest, now: float) -> QuoteReply | Refusal | str:
        """What the shard would say, or why it is to be asked: one of `WHYS`."""
        held = self._held.get(request.token)
        if held is None or held.state is None or not held.entered:
            return UNHELD
        bucket = self._buckets.get(held.bucket)
        if bucket is None:
            return UNHEARD
        why = self._why_not(held, held.state, bucket, token=request.token, now=now)
        if why:
            return why
        self._held.move_to_end(request.token)
        self.age_s = now - bucket.made_at
        ready = held.ready
        if ready is None or held.ready_at is not bucket.place or request.sealed:
            ready = self._make_ready(held, held.state, bucket, sealed=request.sealed)
        return NO_VALUE if ready is None else quoting.answer_on(ready, request)

    def _why_not(
        self, held: _Held, state: MarketState, bucket: _Bucket, *, token: bytes, now: float
    ) -> str:
        if not self._is_whole(held, bucket):
            return BEHIND
        if not self._is_fresh(bucket, now):
            return STALE
        if now - bucket.head_at > self._chain_stale_s:
            return CHAIN_STALE
        mined = self._mined.get(token, self._mined_any)
        return "" if self._reaches_floor(held, state, bucket, mined=mined) else FLOOR

    def _is_whole(self, held: _Held, bucket: _Bucket) -> bool:
        # What it was given is not older than the first message that was heard after a gap.
        same = held.incarnation == bucket.incarnation
        return same and bucket.since <= held.seq <= bucket.seq

    def _reaches_floor(
        self, held: _Held, state: MarketState, bucket: _Bucket, *, mined: int
    ) -> bool:
        version = (bucket.incarnation, state.changes)
        return version >= held.floor and bucket.place.number >= mined

    def _is_fresh(self, bucket: _Bucket, now: float) -> bool:
        return now - bucket.made_at <= self._lease_s

    def _make_ready(
        self, held: _Held, state: MarketState, bucket: _Bucket, *, sealed: bool
    ) -> quoting.Quotable | None:
        market = state.sealed if sealed else (state.quoted or state.sealed)
        if market is None or state.halted:
            return None
        stands = as_of(state, bucket.place, bucket.incarnation, sealed=sealed)
        ready = quoting.quotable(market, as_of=stands, bucket=held.bucket)
        if not sealed:
            held.ready, held.ready_at = ready, bucket.place
        return ready

    # ------------------------------------------------------------------- what is in use

    def use(self, token: bytes) -> None:
        """Somebody asks for this market, and the shard knows it: hold it. Of too many the least
        recently used one goes.
        """
        held = self._held.get(token)
        if held is None:
            self._tickets += 1
            held = self._held[token] = _Held(bucket_of(token), self._tickets)
            self._used.setdefault(held.bucket, _Used()).tokens.add(token)
            if len(self._held) > self._markets_max:
                self._drop_oldest()
        self._waiting[token] = None
        self._held.move_to_end(token)

    def to_ask(self, now: float, limit: int) -> list[tuple[bytes, int]]:
        """(market, ticket) to ask the shards for now, of buckets whose messages come. Who is not
        answered is asked for again once another quote of it goes to the shard.
        """
        found: list[tuple[bytes, int]] = []
        for token in list(self._waiting):
            held = self._held[token]
            if len(found) < limit and self._used[held.bucket].heard and held.ask_at <= now:
                held.ask_at = now + ASK_AGAIN_S
                del self._waiting[token]
                found.append((token, held.ticket))
        return found

    @property
    def used(self) -> frozenset[int]:
        """Buckets whose messages are wanted."""
        return frozenset(self._used)

    @property
    def unheard(self) -> frozenset[int]:
        """Buckets whose messages are wanted and do not come."""
        return frozenset(one for one, used in self._used.items() if not used.heard)

    @property
    def markets(self) -> int:
        """How many are held."""
        return len(self._held)

    def _drop_oldest(self) -> None:
        token, held = self._held.popitem(last=False)
        self._waiting.pop(token, None)
        used = self._used[held.bucket]
        used.tokens.discard(token)
        if not used.tokens:
            del self._used[held.bucket]
            self._buckets.pop(held.bucket, None)

    # ------------------------------------------------------------------ what it is told

    def listening(self, bucket: int) -> None:
        """From now on every message of this bucket comes."""
        if bucket in self._used:
            self._used[bucket].heard = True

    def cut(self) -> None:
        """Messages come no more: the connection is gone."""
        for bucket, used in self._used.items():
            used.heard = False
            self._buckets.pop(bucket, None)

    def states(self, message: BucketStates, made_at: float) -> None:
        """Markets of a bucket changed."""
        bucket, seq = message.bucket, message.seq
        if not self._is_heard(bucket) or not self._is_owner(bucket, message.incarnation):
            return
        known = self._buckets.get(bucket)
        if known is not None and seq <= known.seq:
            return
        if known is None or not self._follows(known, seq):
            known = self._begin(message, since=seq - 1, seq=seq)
        known.seq = seq
        _stand(known, message, made_at, made_ns=message.made_ns)
        for state in message.states:
            held = self._held.get(state.token)
            if held is not None and _is_news(held, message):
                _hold(held, state, message)

    def beat(self, beat: Beat, made_at: float) -> None:
        """A shard lives."""
        for standing in beat.standings:
            for mark in standing.marks:
                if not self._is_heard(mark.bucket):
                    continue
                if not self._is_owner(mark.bucket, mark.incarnation):
                    continue
                known = self._buckets.get(mark.bucket)
                if known is None or self._is_ahead(known, mark.seq):
                    known = self._begin(mark, since=mark.seq, seq=mark.seq)
                if mark.seq == known.seq:
                    _stand(known, standing, made_at, made_ns=beat.made_ns)

    def entry(self, entry: Entry, ticket: int) -> None:
        """A market, whole, as a shard has it: the answer to who asked with this ticket."""
        held = self._held.get(entry.state.token)
        if held is None or held.ticket != ticket or not self._is_heard(entry.bucket):
            return
        if not self._is_owner(entry.bucket, entry.incarnation):
            return
        held.entered = True
        self._waiting.pop(entry.state.token, None)
        if _is_news(held, entry):
            _hold(held, entry.state, entry)

    def owned(self, bucket: int, incarnation: int) -> None:
        """Somebody named this incarnation: a lower one is refused from now on."""
        self._is_owner(bucket, incarnation)

    def saw(self, token: bytes, version: tuple[int, int]) -> None:
        """Somebody named this version of the market: a lower one is not answered any more."""
        self._is_owner(bucket_of(token), version[0])
        held = self._held.get(token)
        if held is not None and version > held.floor:
            held.floor = version

    def mined(self, token: bytes, block_number: int) -> None:
        """A receipt names this block: an answer about the market holds it from now on."""
        before = self._mined.pop(token, self._mined_any)
        self._mined[token] = max(before, block_number)
        if len(self._mined) > self._floors_max:
            _, oldest = self._mined.popitem(last=False)
            self._mined_any = max(self._mined_any, oldest)

    # -------------------------------------------------------------------------- private

    def _is_heard(self, bucket: int) -> bool:
        used = self._used.get(bucket)
        return used is not None and used.heard

    def _is_owner(self, bucket: int, incarnation: int) -> bool:
        known = self._incarnations.get(bucket, 0)
        if incarnation > known:
            self._incarnations[bucket] = incarnation
            self._buckets.pop(bucket, None)
        return incarnation >= known

    def _follows(self, known: _Bucket, seq: int) -> bool:
        return seq == known.seq + 1

    def _is_ahead(self, known: _Bucket, seq: int) -> bool:
        # A message was lost, or comes late: what it said of is not known here.
        return seq > known.seq

    def _begin(self, told: Told, *, since: int, seq: int) -> _Bucket:
        nowhere = Place(-1, b"", -1, -1)
        made = _Bucket(told.incarnation, since, seq, nowhere, 0, -inf, -inf)
        self._buckets[told.bucket] = made
        return made


def _hold(held: _Held, state: MarketState, told: Told) -> None:
    held.state, held.incarnation, held.seq = state, told.incarnation, told.seq
    held.ready = None


def _is_news(held: _Held, told: Told) -> bool:
    return (told.incarnation, told.seq) > (held.incarnation, held.seq)


def _stand(known: _Bucket, told: BucketStates | Standing, made_at: float, *, made_ns: int) -> None:
    if told.place.step >= known.place.step:
        known.place = told.place
    # What comes a second time, or late, is no sign of life.
    if made_ns > known.made_ns:
        known.made_ns, known.made_at = made_ns, made_at
        known.head_at = made_at - told.silence_ms / 1e3
