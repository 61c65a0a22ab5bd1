"""Bugs that are planted on purpose: each must be caught by the checks of some run."""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from actors.shard import TokenShard
from chain.source import ChainSource
from engine import overlay
from engine.chain_view import ChainView, EventSeqs
from engine.group import Group
from engine.timeline import Timeline
from storage import rewind as rewinding
from storage import snapshots as snapshot_store
from storage.events import EventStore
from storage.wanted import WantedStore
from tests.simulation.runs import Outcome, simulate

SEEDS = 16
PATIENCE_S = 30.0
"""What is right settles in a few seconds; what is broken would be waited for in vain."""

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Planted:
    """`mode` is a lie for the kind `lies`."""

    name: str
    kind: str
    patch: Patch
    mode: str = ""


def caught(one: Planted, url: str, *, first_seed: int) -> bool:
    """Whether a run finds it, of `SEEDS`, and the same run without the bug is clean."""
    for seed in range(first_seed, first_seed + SEEDS):
        with one.patch():
            found = _run(one, seed, url)
        if found.failures:
            return not _run(one, seed, url).failures
    return False


def _run(one: Planted, seed: int, url: str) -> Outcome:
    return simulate(seed, kind=one.kind, url=url, mode=one.mode, patience_s=PATIENCE_S)


def _pops_one_too_few() -> Any:
    real = Timeline.pop_above
    return mock.patch.object(Timeline, "pop_above", lambda self, number: real(self, number + 1))


def _forgets_to_retract() -> Any:
    real = Group._popped

    def popped(self: Group, token: bytes, ancestor: int, shown: list[Any]) -> Any:
        return replace(real(self, token, ancestor, shown), retracted=())

    return mock.patch.object(Group, "_popped", popped)


def _keeps_what_did_not_come_true() -> Any:
    real = overlay.split
    return mock.patch.object(overlay, "split", lambda *given: (real(*given)[0], ()))


def _sql(query: str, right: str, wrong: str) -> Patch:
    assert right in rewinding._SQL[query], query
    text = rewinding._SQL[query].replace(right, wrong)
    return lambda: mock.patch.dict(rewinding._SQL, {query: text})


def _rewinds_nothing() -> Any:
    async def rewind(self: EventStore, ancestor: Any, **_: Any) -> bool:
        return True

    return mock.patch.object(EventStore, "rewind", rewind)


def _moves_the_cursor_without_rows() -> Any:
    real, dice = EventStore._write_group, random.Random(1)

    async def write(self: EventStore, connection: Any, blocks: Any, final: int) -> None:
        if dice.random() < 0.8:
            await real(self, connection, blocks, final)

    return mock.patch.object(EventStore, "_write_group", write)


def _finalises_too_early() -> Any:
    real = EventStore.finalise

    async def finalise(self: EventStore, number: int, *given: Any) -> bool:
        return await real(self, number + 10, *given)

    return mock.patch.object(EventStore, "finalise", finalise)


@contextlib.contextmanager
def _believes_the_node() -> Iterator[None]:
    async def proven(self: Any, header: Any) -> None:
        return None

    async def whole(self: Any, header: Any, logs: Any) -> bool:
        return True

    with (
        mock.patch.object(ChainSource, "_proven", proven),
        mock.patch.object(ChainSource, "_whole", whole),
        mock.patch.object(EventSeqs, "fault", lambda self, events: None),
    ):
        yield


def _believes_snapshots() -> Any:
    return mock.patch.object(snapshot_store, "_checksum", lambda chain_id, one: bytes(32))


def _sees_no_reorg() -> Any:
    real = ChainView.judge

    def judge(self: ChainView, header: Any) -> Any:
        return real(self, replace(header, parent_hash=self.tip.hash))

    return mock.patch.object(ChainView, "judge", judge)


def _forgets_orphans() -> Any:
    def ancestor_of(self: ChainView, position: Any, trail: Any = ()) -> Any:
        return None

    return mock.patch.object(ChainView, "ancestor_of", ancestor_of)


def _keeps_what_another_owns() -> Any:
    # Neither told by the supervisor nor by the fence.
    def keeps(self: TokenShard, *_: Any) -> None:
        return None

    return mock.patch.multiple(TokenShard, _lost=keeps, _release=keeps)


def _guesses_how_many() -> Any:
    async def read(self: WantedStore) -> Any:
        return self._first

    return mock.patch.object(WantedStore, "read", read)


PLANTED = (
    Planted("a shard pops one block too few", "reorg", _pops_one_too_few),
    Planted("what a reorg took back is not retracted", "reorg", _forgets_to_retract),
    Planted("a shred that did not come true stays", "shreds", _keeps_what_did_not_come_true),
    Planted("candles are not rewound", "reorg", _sql("later_candles", "time > $2", "time > 9e9")),
    Planted(
        "work that was taken back is kept",
        "reorg",
        _sql("outbox", "block_number > $2", "block_number > $2 + 1000"),
    ),
    Planted("the recorder forgets the old hash", "reorg", _rewinds_nothing),
    Planted("the cursor moves before the rows", "kills", _moves_the_cursor_without_rows),
    Planted("money moves before it is final", "reorg", _finalises_too_early),
    Planted("a shard keeps what another one owns", "scaling", _keeps_what_another_owns),
    Planted("a new supervisor forgets how many are wanted", "scaling", _guesses_how_many),
    Planted("the node is believed", "lies", _believes_the_node, "drop at hash"),
    Planted("a snapshot's checksum is not looked at", "recovery", _believes_snapshots),
    Planted("parent hashes are not compared", "reorg", _sees_no_reorg),
    Planted("nobody knows what led to an orphan", "reorg", _forgets_orphans),
)
