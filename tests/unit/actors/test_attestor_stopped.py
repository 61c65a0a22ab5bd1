"""`stopped` of an attestor's status: why it would sign nothing, whether anybody asks or not."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from actors.attestor import WATCH_EVERY_S, Attestor
from engine.bridge.standstill import STOPPED_AFTER_S
from engine.control import StatusWanted
from engine.errors import TransientError
from tests.support import transfers as t
from tests.support.fakes import FakeSink


@dataclass
class Endpoint:
    """Of chain `chain`, or says `another`; `away` it does not answer, `gone` is another block 7."""

    chain: int
    another: int | None = None
    away: bool = False
    untagged: bool = False
    gone: bool = False

    async def chain_id(self) -> int:
        self._answer(self.away)
        return self.another or self.chain

    async def final(self) -> Any:
        self._answer(self.away or self.untagged)
        return SimpleNamespace(number=10)

    async def hashes(self, numbers: list[int]) -> list[bytes]:
        self._answer(self.away)
        return [t.header(self.chain, one, fork=int(self.gone)).hash for one in numbers]

    def _answer(self, away: bool) -> None:
        if away:
            raise TransientError("stale_chain", "Expected an answer")


@dataclass
class Memory:
    entries: list[Any] = field(default_factory=list)
    reason: str | None = None

    def halted(self) -> str | None:
        return self.reason

    def halt(self, reason: str, time: int) -> None:
        self.reason = reason


class World:
    """An attestor with three endpoints of RISE, two of which must agree, and one of Sepolia."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.rise = [Endpoint(t.RISE) for _ in range(3)]
        self.sepolia = Endpoint(t.SEPOLIA)
        self.memory: Any = Memory()
        self.log = FakeSink()
        key: Any = SimpleNamespace(address=bytes(20))
        digests: Any = SimpleNamespace()
        evidence: Any = {t.RISE: self.rise, t.SEPOLIA: [self.sepolia]}
        self.attestor = Attestor(
            key=key,
            vaults=t.VAULTS,
            evidence=evidence,
            memory=self.memory,
            entry=SimpleNamespace,
            digests=digests,
            log=self.log,
            watch_every_s=0.001,
            wall_clock=lambda: 200.0,
            clock=lambda: self.now,
        )

    def attested(self, chain_id: int = t.RISE) -> None:
        block_hash = t.header(chain_id, 7).hash
        entry = {"chain_id": chain_id, "block_number": 7, "block_hash": block_hash, "time": 100}
        self.memory.entries.append(SimpleNamespace(kind="release", id=bytes(32), **entry))

    @property
    def stopped(self) -> str:
        return str(self.attestor.handlers[StatusWanted](StatusWanted())["stopped"])

    async def turn(self) -> str:
        """One pause, one turn, and what stands in the status then."""
        self.now += WATCH_EVERY_S
        await self.attestor.watch()
        await self.attestor.look()
        return self.stopped

    async def turns(self, count: int) -> list[str]:
        return [await self.turn() for _ in range(count)]


@pytest.fixture
def world() -> World:
    assert WATCH_EVERY_S < STOPPED_AFTER_S < 2 * WATCH_EVERY_S
    return World()


async def test_attestor_whose_endpoints_answer_is_not_stopped(world: World) -> None:
    assert await world.turns(3) == ["", "", ""]
    world.rise[0].away = True
    assert await world.turns(3) == ["", "", ""], "two of three are enough"


@pytest.mark.parametrize("how", ["away", "untagged"])
async def test_too_few_endpoints_of_a_chain_stop_it_though_nobody_asks(
    world: World, how: str
) -> None:
    for one in world.rise[:2]:
        setattr(one, how, True)
    assert await world.turns(3) == ["", "", "trouble"]
    assert await world.turn() == "trouble"
    setattr(world.rise[0], how, False)
    assert await world.turn() == ""
    assert [event for _, event, _ in world.log.lines] == ["attestor_stopped", "attestor_goes_on"]
    setattr(world.sepolia, how, True)
    assert await world.turns(3) == ["", "", "trouble"]


async def test_stranger_among_its_endpoints_stops_it(world: World) -> None:
    world.rise[2].another = 1
    assert await world.turns(3) == ["", "", "disagreement"]


async def test_doubted_block_stops_it_when_it_lasts_and_not_when_it_is_over_soon(
    world: World,
) -> None:
    world.attested()
    world.rise[0].gone = True
    assert await world.turns(1) == [""]
    world.rise[0].gone = False
    assert await world.turns(1) == [""]
    world.rise[0].gone = True
    assert await world.turns(3) == ["", "", "disagreement"]
    world.rise[0].gone = False
    assert await world.turn() == "" and world.memory.reason is None


async def test_halt_and_a_full_journal_stop_it_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.attestor.ATTESTATIONS_MAX", 1)
    assert world.stopped == ""
    world.attested()
    assert world.stopped == "full"
    world.memory.reason = "a block is gone"
    assert world.stopped == "halted"


@pytest.mark.parametrize("dead_first", [True, False])
async def test_block_that_is_gone_halts_it_though_the_other_chain_is_away(
    world: World, dead_first: bool
) -> None:
    for chain_id in (t.RISE, t.SEPOLIA) if dead_first else (t.SEPOLIA, t.RISE):
        world.attested(chain_id)
    for one in world.rise:
        one.away = True
    world.sepolia.gone = True
    with pytest.raises(TransientError):
        await world.attestor.watch()
    assert world.memory.reason is not None and f"chain {t.SEPOLIA}" in world.memory.reason
    assert world.stopped == "halted"


async def test_it_looks_on_where_the_watch_finds_nobody_and_says_each_trouble_once(
    world: World,
) -> None:
    world.attested()
    for one in world.rise:
        one.away = True
    world.attestor._clock = lambda: asyncio.get_running_loop().time() * 1_000
    task = asyncio.create_task(world.attestor.run())
    async with asyncio.timeout(5):
        while world.stopped != "trouble":
            await asyncio.sleep(0.005)
        said = [event for _, event, _ in world.log.lines]
        assert said == ["attestor_cannot_watch", "attestor_stopped"]
        for one in world.rise:
            one.away = False
        while world.stopped:
            await asyncio.sleep(0.005)
    task.cancel()
