"""The relayer and its attestors: whom it waits for, and what it remembers of refusals."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from actors import relayer as module
from actors.relayer import ELDEST_EVERY_S, REFUSALS_MAX, Put, Relayer
from chain import vault
from engine.bridge.control import RELEASE, Attest, Attested, Declined, Retry
from engine.bridge.line import HELD_S, TURN_S, Eldest
from engine.bridge.messages import Fate, Message
from engine.bridge.requests import Action, Decision, Facts, Seen
from engine.control import Directory, Instance, StatusWanted
from engine.errors import TransientError
from engine.settings import BridgeSettings
from tests.support import transfers as t
from tests.support.fakes import FakeSink
from tests.support.tasks import beside, passed

SIGNERS = tuple(bytes([number]) * 20 for number in (1, 2, 3))
SET: Any = SimpleNamespace(addresses=SIGNERS, threshold=2, set_hash=bytes(32))
ASKED = Attest(RELEASE, t.MESSAGE, 1)


class Calls:
    """Attestors by name; one without an answer is waited for until somebody gives up."""

    def __init__(self, answers: Mapping[str, Attested | Declined]) -> None:
        self.answers = answers
        self.given_up = 0

    async def ask(self, name: str, message: Any, *, timeout_s: float) -> Any:
        if name in self.answers:
            return self.answers[name]
        try:
            await asyncio.sleep(timeout_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        raise AssertionError("Expected not to be waited for")


def relayer_of(calls: Calls) -> Relayer:
    # A signature here is who gave it.
    codec: Any = SimpleNamespace(
        signer_of=lambda digest, signature: signature,
        sorted_signatures=vault.sorted_signatures,
    )
    nothing: Any = SimpleNamespace()
    built = Relayer(
        ends={},
        history=nothing,
        requests=nothing,
        codec=codec,
        calls=calls,
        settings=BridgeSettings(),
        log=FakeSink(),
    )
    names = [Instance(f"attestor-{n}", "attestor", f"attestor-{n}") for n in range(3)]
    built.handlers[Directory](Directory(1, tuple(names), ()))
    return built


def signed(signer: bytes) -> Attested:
    return Attested(signer, signer, bytes(32))


async def test_attestor_that_does_not_answer_holds_up_no_transfer() -> None:
    calls = Calls({"attestor-1": signed(SIGNERS[2]), "attestor-2": signed(SIGNERS[1])})
    async with asyncio.timeout(1):
        found = await relayer_of(calls)._signed(ASKED, bytes(32), SET)
    await asyncio.sleep(0)
    assert found == [SIGNERS[1], SIGNERS[2]] and calls.given_up == 1


async def test_one_signer_that_answers_twice_is_not_two() -> None:
    twice = {f"attestor-{n}": signed(SIGNERS[0]) for n in range(3)}
    with pytest.raises(Put, match="1 of 2 signatures"):
        await relayer_of(Calls(twice))._signed(ASKED, bytes(32), SET)


async def test_refusals_of_ever_new_kinds_are_counted_in_a_bounded_place() -> None:
    calls = Calls({})
    relayer = relayer_of(calls)
    for number in range(3 * REFUSALS_MAX):
        calls.answers = {f"attestor-{n}": Declined(f"kind {number}", "") for n in range(3)}
        with pytest.raises(Put):
            await relayer._signed(ASKED, bytes(32), SET)
    refused = relayer.handlers[StatusWanted](StatusWanted())["refused"]
    assert len(refused) == REFUSALS_MAX + 1
    assert sum(refused.values()) == 9 * REFUSALS_MAX


async def test_what_the_doors_would_not_take_is_asked_for_and_sent_as_small() -> None:
    seen: list[Any] = []

    async def due(limit: int, *, least_wei: int) -> list[Any]:
        seen.append(least_wei)
        return []

    async def advance(*_: Any, **__: Any) -> None: ...

    async def gas_of(**_: Any) -> int:
        return 1

    async def reserve(*_: Any, small: bool, **__: Any) -> bool:
        seen.append(small)
        return True

    relayer = relayer_of(Calls({}))
    requests: Any = SimpleNamespace(due=due, advance=advance)
    relayer._requests = requests
    end: Any = SimpleNamespace(
        vault=SimpleNamespace(address=b""),
        node=SimpleNamespace(gas_of=gas_of),
        sending=SimpleNamespace(address=b"", reserve=reserve),
    )
    request: Any = SimpleNamespace(key=(1, 1, b""), attempts=0)
    await relayer.step()
    least = BridgeSettings().minimum_wei
    for amount in (least - 1, least):
        await relayer._send(request, end, Action.RELEASE, data=b"", amount=amount)
    assert seen == [least, True, False]


async def test_turn_grows_old_while_the_store_is_away_and_is_young_after_one_that_went_well() -> (
    None
):
    relayer, now, away = relayer_of(Calls({})), [0.0], [True]

    async def due(limit: int, *, least_wei: int = 0) -> list[Any]:
        now[0] += 10.0
        if away[0]:
            raise TransientError("store_unavailable", "Expected Postgres")
        return []

    relayer._requests = SimpleNamespace(due=due)  # type: ignore[assignment]
    relayer._settings = BridgeSettings(idle_s=0.001)
    relayer._clock = lambda: now[0]
    relayer._turned_at = 0.0
    task = asyncio.create_task(relayer._keep_working())
    while now[0] < 200.0:
        await asyncio.sleep(0.001)
    assert relayer.turn_age_s >= 200.0
    away[0] = False
    async with asyncio.timeout(5):
        while relayer.turn_age_s > 0:
            await asyncio.sleep(0.001)
    task.cancel()


BEGUN = 9_999 * TURN_S
FINAL = Seen(5, b"\x01" * 32, True)


@dataclass
class FullVault:
    """Its window has `left`; what it was asked to pay has this fate."""

    left: int = 0
    limit: int = 9 * t.ETHER
    pool: int = 9 * t.ETHER
    fate_now: Fate = Fate.NONE
    address: bytes = t.VAULTS[t.RISE]

    async def fate(self, message_id: bytes) -> Fate:
        return self.fate_now

    async def window(self) -> tuple[int, int]:
        return self.left, self.limit

    async def window_left(self) -> int:
        return self.left

    async def totals(self) -> Any:
        return SimpleNamespace(pool=self.pool)

    async def deposit(self, message_id: bytes) -> Any:
        return SimpleNamespace(refunded=False)

    async def signers(self) -> Any:
        raise TransientError("stale_chain", "on its way to the attestors")


class Line:
    """A relayer whose requests are the large one, eldest by `since`, and a small one."""

    def __init__(self, vault: FullVault, *, since: int, now: int) -> None:
        self.large, self.small = replace(t.MESSAGE, amount=8 * t.ETHER), t.message(2)
        self.now, self.due_now = now, [self.small]
        self.reasons: dict[bytes, str] = {}
        self.woken: list[bytes] = []
        self.eldest = Eldest(t.RISE, self.key(self.large), self.large.amount, since, now)
        self.facts: dict[str, Any] = {}
        self.relayer = relayer_of(Calls({}))
        requests: Any = SimpleNamespace(
            due=self.due, eldest=self.longest, advance=self.advance, retry=self.retry
        )
        self.relayer._requests = requests
        end: Any = SimpleNamespace(
            vault=vault, chain_id=t.RISE, gate=SimpleNamespace(closed_because=lambda now: "")
        )
        self.relayer._ends = {t.RISE: end, t.SEPOLIA: end}
        self.relayer._must_be_open = lambda step: None  # type: ignore[method-assign]
        self.relayer._clock = count(0, ELDEST_EVERY_S).__next__  # a look at each step

    def key(self, message: Message) -> tuple[int, int, bytes]:
        return (t.SEPOLIA, 1, message.id)

    async def due(self, limit: int, *, least_wei: int) -> list[Any]:
        return [
            (
                SimpleNamespace(key=self.key(one), attempts=0),
                Facts(message=one, deposit=FINAL, target_time=self.now, **self.facts),
            )
            for one in self.due_now
        ]

    async def longest(self) -> list[Eldest]:
        return [self.eldest]

    async def advance(self, request: Any, decision: Decision, **_: Any) -> None:
        self.reasons[request.key[2]] = f"{decision.step}: {decision.reason}"

    async def retry(self, key: Any) -> None:
        self.woken.append(key[2])

    async def reason_of(self, message: Message, **facts: Any) -> str:
        self.due_now, self.facts = [replace(message, deadline=self.now + 2 * TURN_S)], facts
        self.reasons.clear()
        await self.relayer.step()
        (reason,) = self.reasons.values()
        return reason


async def test_small_payment_waits_before_anybody_signs_it_while_an_older_one_needs_room() -> None:
    vault_ = FullVault(left=t.ETHER)
    line = Line(vault_, since=BEGUN - 1, now=BEGUN)
    assert await line.reason_of(line.small) == "queued: an older one waits for room"
    # Queued itself, and where it goes back.
    vault_.fate_now = Fate.QUEUED
    held = "an older one waits for room"
    assert await line.reason_of(line.small, queued=FINAL) == f"queued: {held}"
    vault_.fate_now = Fate.NONE
    assert await line.reason_of(line.small, cancelled=FINAL) == f"refunding: {held}"
    status = line.relayer._room_kept_for(t.RISE)
    assert status == line.large.id.hex() and line.woken == []


async def test_what_waits_is_not_full_for_room_but_for_what_the_vault_would_say() -> None:
    vault_ = FullVault(fate_now=Fate.QUEUED)
    line = Line(vault_, since=BEGUN - 1, now=BEGUN)
    for step, facts in (("queued", {"queued": FINAL}), ("refunding", {"cancelled": FINAL})):
        vault_.left, vault_.limit, vault_.pool = 0, 9 * t.ETHER, 9 * t.ETHER
        assert await line.reason_of(line.small, **facts) == f"{step}: WindowFull"
        vault_.pool = 0
        assert await line.reason_of(line.small, **facts) == f"{step}: NotEnoughLiquidity"
        vault_.limit = t.ETHER - 1
        assert await line.reason_of(line.small, **facts) == f"{step}: AboveLimit"


async def test_eldest_is_woken_once_there_is_room_for_it() -> None:
    vault_ = FullVault(left=8 * t.ETHER - 1)
    line = Line(vault_, since=BEGUN - 1, now=BEGUN)
    await line.reason_of(line.small)
    assert line.woken == []
    vault_.left += 1
    await line.reason_of(line.small)
    assert line.woken == [line.large.id]


async def test_late_in_a_turn_all_go_as_they_come() -> None:
    line = Line(FullVault(left=t.ETHER), since=BEGUN - 1, now=BEGUN + HELD_S)
    assert "on its way to the attestors" in await line.reason_of(line.small)
    assert line.relayer._room_kept_for(t.RISE) is None


async def test_quiet_relayer_looks_seldom_and_at_once_when_it_is_asked_to(monkeypatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 60.0)
    relayer, now, looks = relayer_of(Calls({})), [0.0], [0]

    async def due(limit: int, *, least_wei: int = 0) -> list[Any]:
        looks[0] += 1
        return []

    async def retry(request: Any) -> None: ...

    requests: Any = SimpleNamespace(due=due, retry=retry)
    relayer._requests, relayer._clock = requests, lambda: now[0]
    relayer._settings = BridgeSettings(idle_s=0.001)
    relayer._busy_until = 1.0
    moved: list[float] = []
    relayer._moved = lambda: moved.append(now[0])
    async with beside([relayer._keep_working()]):
        await passed(0.1)
        assert looks[0] > 3  # busy still
        now[0] = 2.0
        await passed(0.05)
        before = looks[0]
        await passed(0.1)
        assert looks[0] == before and not moved
        await relayer.handlers[Retry](Retry((1, 1, b"")))
        await passed(0.1)
        assert looks[0] > before + 3 and moved == [2.0]
