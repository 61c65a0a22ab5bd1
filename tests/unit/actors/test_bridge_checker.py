"""The checker: its books at a block that is buried, alarms, and what an operator may ask of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from actors.bridge_checker import BLIND_S, STUCK_S, BridgeChecker, CheckedEnd, Witness
from engine.bridge.control import Pause
from engine.bridge.messages import Fate
from engine.control import StatusWanted
from engine.errors import TransientError
from engine.limits import BRIDGE_RECENT_MAX
from engine.messages import FeedBatch, FeedPosition, Finalised, Reorg
from tests.support import transfers as t
from tests.support.fakes import FakeSink

NOWHERE = FeedPosition(-1, bytes(32))
BOOKS = SimpleNamespace(
    liquidity=100, deposited=10, released=0, refunded=0, unclaimed=0, fees=0, fees_claimed=0
)
PAUSE = b"pause"


@dataclass
class Vault:
    """A vault of 110 wei whose node answers calls at its newest block, `head`, with the next
    one's state, in which a deposit of 5 wei is, but not its balance."""

    head: int
    stolen: int = 0
    is_paused: bool = False
    asked: list[int] = field(default_factory=list)
    address: bytes = b"\x01" * 20

    async def totals(self, at: int | str = "latest") -> Any:
        if at == self.head:
            return SimpleNamespace(**(vars(BOOKS) | {"deposited": 15}))
        return BOOKS

    async def balance(self, at: int | str = "latest") -> int:
        assert isinstance(at, int)
        self.asked.append(at)
        return 110 - self.stolen

    async def fate(self, message_id: bytes, at: int | str = "latest") -> Fate:
        raise AssertionError("Expected no payment to look at")

    async def deposit(self, message_id: bytes, at: int | str = "latest") -> Any:
        raise AssertionError("Expected no payment to look at")

    async def paused(self, at: int | str = "latest") -> bool:
        return self.is_paused


@dataclass
class Guardian:
    vault: Vault
    sent: list[bytes] = field(default_factory=list)
    works: bool = True

    async def send(self, *, to: bytes, data: bytes, gas: int) -> Any:
        self.sent.append(data)
        self.vault.is_paused = self.works
        return SimpleNamespace(status=int(self.works))


def end_of(chain_id: int, vault: Vault, other: int) -> CheckedEnd:
    async def hash_of(number: int) -> bytes:
        return t.header(chain_id, number).hash

    deposits: Any = SimpleNamespace()
    return CheckedEnd(
        chain_id=chain_id,
        vault=vault,
        deposits=deposits,
        guardian=Guardian(vault),
        hash_of=hash_of,
        fresh=lambda: True,
        position=NOWHERE,
        other=other,
    )


def checker_of(**vaults: Vault) -> tuple[BridgeChecker, dict[int, CheckedEnd]]:
    ends = {
        t.RISE: end_of(t.RISE, vaults.get("rise", Vault(3)), t.SEPOLIA),
        t.SEPOLIA: end_of(t.SEPOLIA, vaults.get("sepolia", Vault(3)), t.RISE),
    }
    save: Callable[..., None] = lambda *_: None  # noqa: E731
    cancel: Callable[..., bytes] = lambda message: b"cancel " + message.id  # noqa: E731
    built = BridgeChecker(ends=ends, pause=PAUSE, cancel=cancel, save=save, log=FakeSink())
    return built, ends


async def fed(checker: BridgeChecker, chain_id: int, upto: int) -> None:
    blocks = tuple(t.block(t.header(chain_id, number)) for number in range(1, upto + 1))
    await checker.take(FeedBatch(chain_id, NOWHERE, blocks, upto))


async def test_books_are_looked_at_below_the_head_where_nodes_tell_the_truth() -> None:
    vault = Vault(head=3)
    checker, _ = checker_of(rise=vault)
    await fed(checker, t.RISE, 3)
    await checker.step()
    assert checker.alarm is None and vault.asked == [2]


async def test_balance_below_what_is_owed_is_an_alarm() -> None:
    checker, _ = checker_of(rise=Vault(head=3, stolen=1))
    await fed(checker, t.RISE, 3)
    await checker.step()
    assert checker.alarm is not None and "balance" in checker.alarm


async def test_pause_that_is_asked_for_is_sent_to_both_once_and_is_no_alarm() -> None:
    vaults = Vault(3), Vault(3)
    checker, ends = checker_of(rise=vaults[0], sepolia=vaults[1])
    done = await checker.handlers[Pause](Pause())
    assert done == {t.RISE: True, t.SEPOLIA: True}
    await checker.handlers[Pause](Pause())
    sent: list[Any] = [end.guardian for end in ends.values()]
    assert [guardian.sent for guardian in sent] == [[PAUSE]] * 2
    assert checker.alarm is None
    # The owner unpauses: nobody pauses again by itself.
    task = asyncio.create_task(checker.run())
    for vault in vaults:
        vault.is_paused = False
    await asyncio.sleep(0.05)
    task.cancel()
    assert not any(vault.is_paused for vault in vaults)


async def test_pause_that_a_vault_does_not_take_says_so() -> None:
    vault = Vault(3)
    checker, ends = checker_of(rise=vault)
    ends[t.RISE].guardian = Guardian(vault, works=False)
    assert await checker.handlers[Pause](Pause()) == {t.RISE: False, t.SEPOLIA: True}


@dataclass
class Ledger(Vault):
    """It knows every deposit, or none; it does not answer the next `silent` times."""

    silent: int = 0
    knows: bool = True

    async def deposit(self, message_id: bytes, at: int | str = "latest") -> Any:
        if self.silent:
            self.silent -= 1
            raise TransientError("stale_chain", "Expected an answer")
        if not self.knows:
            return SimpleNamespace(depositor=bytes(20), amount=0, refunded=False)
        return SimpleNamespace(depositor=t.DEPOSITOR, amount=t.ETHER, refunded=False)


class Paid:
    """A checker whose clock is `now`, fed `count` payments on RISE in one block that is final."""

    def __init__(self, source: Ledger, count: int) -> None:
        self.now = 0.0
        self.saved: list[int] = []
        self.checker, self.ends = checker_of(rise=Vault(2), sepolia=source)
        self.checker._clock = lambda: self.now
        self.checker._save = lambda chain_id, _: self.saved.append(chain_id)
        self._messages = {t.message(nonce).id: t.message(nonce) for nonce in range(count)}
        deposits: Any = SimpleNamespace(message=self._message)
        self.ends[t.SEPOLIA].deposits = deposits
        self._count = count

    async def fed(self) -> None:
        events = [
            t.released(t.at(t.RISE, 1, index=nonce), nonce + 1, t.message(nonce))
            for nonce in range(self._count)
        ]
        block = t.block(t.header(t.RISE, 1), *events)
        await self.checker.take(FeedBatch(t.RISE, NOWHERE, (block, Finalised(t.RISE, 1)), 1))

    async def look_at_one(self) -> None:
        pending = self.ends[t.RISE].pending
        later = list(pending)[1:]
        while len(pending) > 1:
            pending.pop()
        self.ends[t.RISE].final, final = None, self.ends[t.RISE].final
        await self.checker.step()
        pending.extend(later)
        self.ends[t.RISE].final = final

    async def _message(self, message_id: bytes) -> Any:
        return self._messages[message_id]


async def test_lost_answer_late_in_a_long_queue_is_no_alarm() -> None:
    source = Ledger(3)
    paid = Paid(source, count=3)
    await paid.fed()
    # The ones before took their time.
    paid.now = 2 * BLIND_S
    for _ in range(2):  # twice, each soon answered
        source.silent = 1
        with pytest.raises(TransientError):
            await paid.checker.step()
        await paid.look_at_one()
        paid.now += 2 * BLIND_S
    await paid.checker.step()
    assert paid.checker.alarm is None and paid.saved == [t.RISE]
    await paid.checker.step()
    assert paid.saved == [t.RISE]  # nothing more is final


async def test_other_end_that_is_silent_for_long_is_an_alarm() -> None:
    source = Ledger(3, silent=1_000)
    paid = Paid(source, count=1)
    await paid.fed()
    for paid.now in (0.0, BLIND_S - 1):
        with pytest.raises(TransientError):
            await paid.checker.step()
    assert paid.checker.alarm is None
    paid.now = BLIND_S
    await paid.checker.step()
    assert paid.checker.alarm is not None and "could not be read" in paid.checker.alarm


async def test_alarm_is_found_again_by_the_next_process_until_both_vaults_are_paused() -> None:
    paid = Paid(Ledger(3, knows=False), count=1)
    vault = paid.ends[t.SEPOLIA].vault
    assert isinstance(vault, Vault)
    guardian = Guardian(vault, works=False)
    paid.ends[t.SEPOLIA].guardian = guardian
    await paid.fed()
    await paid.checker.step()
    assert paid.checker.alarm is not None and paid.saved == []
    task = asyncio.create_task(paid.checker.run())
    async with asyncio.timeout(5):
        while not guardian.sent:
            await asyncio.sleep(0.01)
        assert paid.saved == []
        guardian.works = True
        while paid.checker.paused_after_s is None:
            await asyncio.sleep(0.01)
    task.cancel()
    # From now on whoever ends this process to resume does not meet the alarm again.
    await paid.checker.step()
    assert paid.saved == [t.RISE]


async def test_blocks_above_what_is_final_are_bounded_and_the_last_final_one_is_still_known() -> (
    None
):
    checker, ends = checker_of()
    end, upto = ends[t.RISE], 10 * BRIDGE_RECENT_MAX
    longest = 0
    for number in range(1, upto + 1):
        after = end.position
        block = t.block(t.header(t.RISE, number))
        await checker.take(FeedBatch(t.RISE, after, (block,), upto + 1))
        longest = max(longest, len(end.recent))
    assert longest <= BRIDGE_RECENT_MAX
    # Finality comes back in the middle of what it left out: a block at or below it is known.
    for final in (1, 777, upto // 2, upto):
        await checker.take(FeedBatch(t.RISE, end.position, (Finalised(t.RISE, final),), upto + 1))
        assert end.final is not None
        assert end.final == FeedPosition(end.final.number, t.header(t.RISE, end.final.number).hash)
        assert final - 64 <= end.final.number <= final


async def test_block_that_is_taken_back_is_no_longer_among_the_bounded() -> None:
    checker, ends = checker_of()
    await fed(checker, t.RISE, 9)
    ancestor = t.header(t.RISE, 4)
    back = (Reorg(t.RISE, 4, ancestor.hash), Finalised(t.RISE, 9))
    await checker.take(FeedBatch(t.RISE, ends[t.RISE].position, back, 9))
    assert ends[t.RISE].final == FeedPosition(4, ancestor.hash)


# ------------------------------------------------------------------- several endpoints


class Mute(Ledger):
    """It never answers, and does not say so either."""

    async def deposit(self, message_id: bytes, at: int | str = "latest") -> Any:
        await asyncio.Event().wait()


def witnessed(*ledgers: Ledger) -> tuple[Paid, list[int]]:
    """One payment; its source is read at so many endpoints, whose heads are the list's."""
    paid, heads = Paid(ledgers[0], count=1), [3] * len(ledgers)
    end = paid.ends[t.SEPOLIA]
    end.position = FeedPosition(3, t.header(t.SEPOLIA, 3).hash)

    def head_of(at: int) -> Any:
        async def told() -> int:
            return heads[at]

        return told

    end.witnesses = [
        Witness(vault=ledger, deposits=end.deposits, head_of=head_of(at))
        for at, ledger in enumerate(ledgers)
    ]
    return paid, heads


async def test_endpoint_that_does_not_know_a_deposit_is_enough_and_nobody_is_waited_for() -> None:
    for ledgers in (
        (Ledger(3), Ledger(3, knows=False)),
        (Mute(3), Ledger(3, knows=False)),
        (Ledger(3, silent=9), Ledger(3), Ledger(3, knows=False)),
    ):
        paid, _ = witnessed(*ledgers)
        await paid.fed()
        async with asyncio.timeout(1):
            await paid.checker.step()
        alarm = paid.checker.alarm
        assert alarm is not None and f"endpoint {len(ledgers) - 1}" in alarm


async def test_endpoint_that_never_comes_to_an_end_holds_up_no_later_payment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.bridge_checker.WITNESS_S", 0.02)
    paid, _ = witnessed(Mute(3), Ledger(3))
    await paid.fed()
    async with asyncio.timeout(1):
        await paid.checker.step()
    assert paid.checker.alarm is None and paid.saved == [t.RISE]
    # None of them is an answer at all.
    paid, _ = witnessed(Mute(3), Mute(3))
    await paid.fed()
    async with asyncio.timeout(1):
        with pytest.raises(TransientError):
            await paid.checker.step()


async def test_endpoint_without_an_answer_is_no_alarm_and_is_said_once() -> None:
    paid, _ = witnessed(Ledger(3, silent=9), Ledger(3))
    await paid.fed()
    await paid.checker.step()
    assert paid.checker.alarm is None and paid.saved == [t.RISE]
    paid, _ = witnessed(Ledger(3, silent=9), Ledger(3, silent=1))
    await paid.fed()
    with pytest.raises(TransientError):
        await paid.checker.step()
    await paid.checker.step()
    assert paid.checker.alarm is None and paid.saved == [t.RISE]
    sink: Any = paid.checker._log
    assert [event for _, event, _ in sink.lines].count("bridge_endpoint_silent") == 2


async def test_endpoint_that_is_behind_is_asked_again_until_it_knows_or_stands_still() -> None:
    for later in ("knows", "stuck"):
        ledger = Ledger(3, knows=False)
        paid, heads = witnessed(ledger, Ledger(3))
        heads[0] = 2
        await paid.fed()
        for paid.now in (0.0, STUCK_S):
            with pytest.raises(TransientError):
                await paid.checker.step()
        if later == "knows":
            ledger.knows = True
        else:
            paid.now = STUCK_S + 1
        await paid.checker.step()
        assert paid.checker.alarm is None and paid.saved == [t.RISE], later


async def test_endpoint_that_stays_behind_and_goes_on_to_deny_is_an_alarm() -> None:
    # One that is ahead of the chain may be the one that lies, for the others to look behind.
    paid, heads = witnessed(Ledger(3, knows=False), Ledger(3))
    paid.ends[t.SEPOLIA].position = FeedPosition(1_000_000, bytes(32))
    await paid.fed()
    for second in range(int(BLIND_S)):
        paid.now, heads[0] = float(second), 3 + second
        with pytest.raises(TransientError):
            await paid.checker.step()
    paid.now = BLIND_S
    heads[0] += 1
    await paid.checker.step()
    assert paid.checker.alarm is not None


async def test_books_that_do_not_add_up_at_each_block_are_not_said_at_each() -> None:
    checker, ends = checker_of(rise=Vault(head=3, stolen=1))
    await fed(checker, t.RISE, 3)
    for _ in range(20):
        await checker.step()
        ends[t.RISE].books_at = ends[t.RISE].buried
    sink: Any = checker._log
    assert checker.handlers[StatusWanted](StatusWanted())["violations"] == 20
    assert [event for _, event, _ in sink.lines].count("bridge_violated") == 1
