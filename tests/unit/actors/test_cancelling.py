"""An operator's cancel: told as it is, and never in the way of a pause."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from actors.bridge_checker import BridgeChecker, CheckedEnd
from engine.bridge.control import CancelQueued, Pause
from engine.bridge.messages import Fate
from engine.errors import CallerError, RiseCurveError, TransientError
from tests.support import transfers as t
from tests.unit.actors.test_bridge_checker import PAUSE, Guardian, Vault, checker_of

CANCEL = b"cancel " + t.MESSAGE.id
ASKED = CancelQueued(t.MESSAGE.id)


class Queue(Vault):
    """A target that has one message, of this fate; a guardian's call cancels it."""

    fate_now: Fate = Fate.QUEUED
    said: Fate | None = None

    async def fate(self, message_id: bytes, at: int | str = "latest") -> Fate:
        return self.said or self.fate_now


@dataclass
class Account(Guardian):
    """`chain.payer.Payer` on a chain that mines at once, or when `mines` is set: one at a time, and
    who gives up leaves it to the next. `fails` once the vault was called."""

    mines: asyncio.Event = field(default_factory=asyncio.Event)
    fails: RiseCurveError | None = None
    taken: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.mines.set()

    async def send(self, *, to: bytes, data: bytes, gas: int) -> Any:
        async with self.lock:
            self.sent.append(data)
            if data == CANCEL:
                await self.mines.wait()
            elif self.taken:
                self.taken = False
                raise TransientError("nonce_used", "Expected nonce 7 to be free")
            return self._mined(data)

    def _mined(self, data: bytes) -> Any:
        assert isinstance(self.vault, Queue)
        if data == PAUSE:
            self.vault.is_paused = True
        elif self.works:
            self.vault.fate_now = Fate.CANCELLED
        if self.fails is not None:
            raise self.fails
        return SimpleNamespace(status=int(self.works))


class World:
    """A message that is queued on RISE."""

    def __init__(self) -> None:
        self.queue = Queue(3)
        self.checker: BridgeChecker
        self.ends: dict[int, CheckedEnd]
        self.checker, self.ends = checker_of(rise=self.queue)
        self.guardian = Account(self.queue)
        self.ends[t.RISE].guardian = self.guardian

        async def message(message_id: bytes) -> Any:
            return t.MESSAGE if message_id == t.MESSAGE.id else None

        async def nothing(message_id: bytes) -> None: ...

        known: Any = SimpleNamespace(message=message)
        empty: Any = SimpleNamespace(message=nothing)
        self.ends[t.SEPOLIA].deposits, self.ends[t.RISE].deposits = known, empty

    async def cancel(self, asked: CancelQueued = ASKED) -> int:
        found: int = await self.checker.handlers[CancelQueued](asked)
        return found

    async def pause(self) -> Any:
        return await self.checker.handlers[Pause](Pause())

    async def waiting(self) -> "asyncio.Task[int]":
        """A cancel that waits to be mined."""
        self.guardian.mines.clear()
        task = asyncio.create_task(self.cancel())
        while not self.guardian.sent:
            await asyncio.sleep(0)
        return task


@pytest.fixture
def world() -> World:
    return World()


async def test_queued_message_is_cancelled_once_at_its_target_by_the_guardian(
    world: World,
) -> None:
    for _ in range(2):
        assert await world.cancel() == t.RISE
    assert world.guardian.sent == [CANCEL]
    assert world.checker.alarm is None


@pytest.mark.parametrize("fate", [Fate.NONE, Fate.RELEASED])
async def test_message_that_is_not_queued_is_not_cancelled(world: World, fate: Fate) -> None:
    world.queue.fate_now = fate
    with pytest.raises(CallerError, match=f"was {fate.name}"):
        await world.cancel()
    assert world.guardian.sent == []


async def test_cancel_that_the_vault_did_not_take_or_nobody_knows_of_says_so(world: World) -> None:
    world.guardian.works = False
    with pytest.raises(TransientError) as refused:
        await world.cancel()
    assert refused.value.code == "not_cancelled"
    with pytest.raises(CallerError) as caught:
        await world.cancel(CancelQueued(bytes(32)))
    assert caught.value.code == "not_found"


async def test_cancel_that_was_mined_is_told_so_whatever_the_account_or_a_slow_node_says(
    world: World,
) -> None:
    world.guardian.fails = TransientError("not_mined", "Expected nonce 7 mined in 5 rounds")
    assert await world.cancel() == t.RISE
    world = World()
    world.queue.said = Fate.QUEUED
    assert await world.cancel() == t.RISE


async def test_cancel_that_was_not_mined_says_why_and_one_that_came_too_late_says_what_is(
    world: World,
) -> None:
    world.guardian.fails = TransientError("not_mined", "Expected nonce 7 mined in 5 rounds")
    world.guardian.works = False
    with pytest.raises(TransientError, match="5 rounds"):
        await world.cancel()
    task = await world.waiting()
    world.queue.fate_now = Fate.RELEASED
    world.guardian.mines.set()
    with pytest.raises(CallerError, match="was RELEASED"):
        await task


@pytest.mark.parametrize("wanted", ["alarm", "asked"])
async def test_nothing_is_cancelled_while_a_pause_is_wanted_but_what_is_cancelled_is_said(
    world: World, wanted: str
) -> None:
    if wanted == "alarm":
        world.checker._raise("a theft", 0.0, about="it")
    else:
        world.checker._pauses_asked = 1
    with pytest.raises(TransientError) as refused:
        await world.cancel()
    assert refused.value.code == "bridge_pausing" and world.guardian.sent == []
    world.queue.fate_now = Fate.CANCELLED
    assert await world.cancel() == t.RISE


@pytest.mark.parametrize("wanted", ["alarm", "asked"])
@pytest.mark.parametrize("mined", [False, True])
async def test_pause_goes_before_a_cancel_that_waits_to_be_mined(
    world: World, wanted: str, mined: bool
) -> None:
    task, running = await world.waiting(), asyncio.create_task(world.checker.run())
    # The cancel that was given up for it may be mined in its place all the same.
    world.guardian.taken = mined
    if mined:
        world.queue.fate_now = Fate.CANCELLED
    async with asyncio.timeout(2):
        if wanted == "asked":
            assert await world.pause() == {t.RISE: True, t.SEPOLIA: True}
        else:
            world.checker._raise("a theft", 0.0, about="it")
        while not world.queue.is_paused:
            await asyncio.sleep(0.01)
        if mined:
            assert await task == t.RISE
        else:
            with pytest.raises(TransientError) as given_up:
                await task
            assert given_up.value.code == "bridge_pausing"
    assert world.guardian.sent == [CANCEL, PAUSE, *[PAUSE] * mined]
    assert not world.guardian.mines.is_set(), "Expected the cancel to wait until then"
    running.cancel()


async def test_cancel_goes_on_after_a_pause_that_was_asked_for(world: World) -> None:
    await world.pause()
    assert await world.cancel() == t.RISE


async def test_whoever_is_no_longer_there_to_hear_of_it_sends_no_more(world: World) -> None:
    task = await world.waiting()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert not world.guardian.lock.locked()
