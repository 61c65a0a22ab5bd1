"""What a relayer says of itself: attestors and vaults are asked, whoever is silent is no help."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from actors.bridge_health import BridgeHealth, routed
from engine.control import Directory, Instance, StatusWanted
from engine.errors import TransientError
from tests.support import transfers as t
from tests.support.fakes import FakeSink

SIGNERS = tuple(bytes([number]) * 20 for number in (1, 2, 3))


class World:
    """Two vaults of two of three signers, three attestors, and what was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("actors.bridge_health.ASK_TIMEOUT_S", 0.05)
        self.relayer = SimpleNamespace(closed_because="", turn_age_s=1.0)
        self.stopped = {f"attestor-{n}": "" for n in range(3)}
        self.silent: set[Any] = set()
        self.hanging: set[int] = set()
        self.paused: set[int] = set()
        self.old: set[int] = set()
        self.minimums_asked = 0
        self.said: list[tuple[str, str, bool]] = []
        self.store_is_away = False
        vaults: Any = {chain: self._vault(chain) for chain in (t.RISE, t.SEPOLIA)}
        self.log = FakeSink()
        self.health = BridgeHealth(
            name="relayer",
            relayer=self.relayer,
            vaults=vaults,
            beats=self,
            calls=self,
            log=self.log,
            every_s=0.01,
        )
        instances = tuple(Instance(name, "attestor", name) for name in self.stopped)
        self.directory = Directory(1, (*instances, Instance("r", "relayer", "r")), ())
        self.health.route(self.directory)

    def _vault(self, chain_id: int) -> Any:
        async def signers(at: Any = "latest") -> Any:
            if chain_id in self.silent:
                raise TransientError("stale_chain", "Expected an answer")
            if chain_id in self.hanging:
                await asyncio.sleep(60)
            return SimpleNamespace(addresses=SIGNERS, threshold=2)

        async def paused(at: Any = "latest") -> bool:
            return chain_id in self.paused

        async def minimum(of: int) -> int:
            assert of == chain_id
            self.minimums_asked += 1
            if chain_id in self.old:
                raise TransientError("bridge_unavailable", f"{chain_id} is older: deploy it anew")
            return 1

        return SimpleNamespace(signers=signers, paused=paused, minimum=minimum)

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        assert isinstance(message, StatusWanted)
        if name in self.silent:
            raise TransientError("shard_unavailable", "Expected an answer")
        number = int(name[-1])
        stopped = self.stopped[name]
        halted = "a block is gone" if stopped == "halted" else None
        return {"address": "0x" + SIGNERS[number].hex(), "halted": halted, "stopped": stopped}

    async def say(self, name: str, *, closed: str, paused: bool) -> None:
        if self.store_is_away:
            raise TransientError("store_unavailable", "Expected Postgres")
        self.said.append((name, closed, paused))

    async def step(self) -> tuple[str, bool]:
        await self.health.step()
        name, closed, paused = self.said[-1]
        assert name == "relayer"
        return closed, paused


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_whole_bridge_is_open_and_one_attestor_less_is_enough(world: World) -> None:
    assert await world.step() == ("", False)
    world.stopped["attestor-0"] = "halted"
    assert await world.step() == ("", False)


async def test_quorum_that_is_halted_or_away_closes_it(world: World) -> None:
    world.stopped["attestor-0"] = "halted"
    world.silent.add("attestor-2")
    closed, _ = await world.step()
    assert "2 attestors" in closed and "was 1" in closed
    world.silent.clear()
    assert await world.step() == ("", False)
    world.health.route(Directory(2, (), ()))
    assert "was 0" in (await world.step())[0]


@pytest.mark.parametrize("code", ["halted", "full", "disagreement", "trouble"])
async def test_attestor_that_answers_and_signs_nothing_is_not_counted(
    world: World, code: str
) -> None:
    world.stopped["attestor-0"] = code
    assert await world.step() == ("", False)
    world.stopped["attestor-2"] = code
    assert "was 1" in (await world.step())[0]
    world.stopped["attestor-0"] = ""
    assert await world.step() == ("", False)


async def test_relayers_own_reason_and_an_old_turn_close_it(world: World) -> None:
    world.relayer.closed_because = "the tag stands still"
    assert await world.step() == ("the tag stands still", False)
    world.relayer.closed_because = ""
    world.relayer.turn_age_s = 10_000.0
    assert "turn" in (await world.step())[0]


@pytest.mark.parametrize("how", ["silent", "hanging"])
async def test_vault_that_was_never_asked_closes_it_and_one_that_falls_silent_later_does_not(
    world: World, how: str
) -> None:
    getattr(world, how).add(t.RISE)
    assert "both vaults" in (await world.step())[0]
    getattr(world, how).clear()
    world.paused.add(t.RISE)
    assert await world.step() == ("", True)
    getattr(world, how).add(t.RISE)
    world.paused.clear()
    assert await world.step() == ("", True)


async def test_vault_from_before_there_was_a_minimum_closes_it_and_is_said_once_at_start(
    world: World,
) -> None:
    world.old.add(t.SEPOLIA)
    for _ in range(3):
        assert await world.step() == (f"{t.SEPOLIA} is older: deploy it anew", False)
    ((level, event, fields),) = world.log.lines
    assert (level, event, fields["chain_id"]) == ("error", "bridge_vault_outdated", t.SEPOLIA)
    # A node may have refused for a reason of its own: it is asked again, the other vault never.
    assert world.minimums_asked == 3 + 1
    world.old.clear()
    for _ in range(2):
        assert await world.step() == ("", False)
    assert world.minimums_asked == 4 + 1


async def test_it_goes_on_saying_it_after_the_store_was_away(world: World) -> None:
    world.store_is_away = True
    task = asyncio.create_task(world.health.run())
    await asyncio.sleep(0.05)
    world.store_is_away = False
    async with asyncio.timeout(5):
        while len(world.said) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    assert [event for _, event, _ in world.log.lines] == ["bridge_health_not_said"]


def test_both_are_told_who_is_there(world: World) -> None:
    told: list[Directory] = []
    world.health.route(Directory(0, (), ()))
    routed(told.append, world.health)(world.directory)
    assert told == [world.directory] and len(world.health._attestors) == 3
