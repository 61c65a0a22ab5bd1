"""Steps of transfers reach the wallet's topic, and stay untold where they did not."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from actors import bridge_notices as module
from actors.bridge_notices import BridgeNotices
from engine.errors import TransientError
from engine.limits import BRIDGE_EVENTS_KEPT_S, BRIDGE_SWEEP_ROWS
from gateway.replies.realtime import UserBridgeData
from storage.bridge_notices import Notice
from tests.support.fakes import FakeSink
from tests.support.tasks import beside, passed

USER = b"\x0a" * 20


def notice(number: int, **fields: Any) -> Notice:
    values: dict[str, Any] = {
        "key": (1, 1, b"\x07" * 32),
        "number": number,
        "status": "PENDING",
        "step": "confirming",
        "reason": "",
        "at": 12.5,
        "target_chain": 2,
        "message": None,
        "user": USER,
        "recipient": b"\x0b" * 20,
        "amount": 5 * 10**17,
        "source_tx": None,
        "target_tx": None,
        "refund_tx": None,
    }
    return Notice(**(values | fields))


class Stored:
    """What is untold; the store's law: what `publish` raises leaves it untold."""

    def __init__(self, *notices: Notice) -> None:
        self.untold = list(notices)
        self.forgotten: list[float] = []
        self.old_events = 0

    async def tell(self, publish: Callable[[Sequence[Any]], Awaitable[None]], limit: int) -> int:
        some = self.untold[:limit]
        if some:
            await publish(some)
            del self.untold[:limit]
        return len(some)

    async def forget_intents(self, *, kept_s: float, limit: int) -> int:
        self.forgotten.append(kept_s)
        return 0

    async def forget_events(self, *, kept_s: float, limit: int) -> int:
        self.forgotten.append(kept_s)
        taken = min(limit, self.old_events)
        self.old_events -= taken
        return taken


class Topics:
    def __init__(self) -> None:
        self.published: list[tuple[str, str, dict[str, object]]] = []
        self.down = False

    async def publish_counted(self, topic: str, event: str, data: dict[str, object]) -> None:
        if self.down:
            raise TransientError("store_unavailable", "Expected Redis")
        self.published.append((topic, event, data))


async def test_steps_go_to_their_wallets_topic_in_order_as_the_model_has_them() -> None:
    other = notice(1, user=b"\x0c" * 20, key=(1, 1, b"\x08" * 32))
    paid = notice(
        3, step="released", status="COMPLETED", message=b"\x01" * 32, target_tx=b"\x02" * 32
    )
    topics = Topics()
    told = BridgeNotices(
        notices=Stored(notice(2, reason="WindowFull"), other, paid), ticks=topics, log=FakeSink()
    )
    assert await told.step() == 0
    assert told.told == 3
    mine, theirs = f"user:0x{'0a' * 20}", f"user:0x{'0c' * 20}"
    assert [(topic, event) for topic, event, _ in topics.published] == [
        (mine, "user"),
        (theirs, "user"),
        (mine, "user"),
    ]
    for _, _, data in topics.published:
        UserBridgeData.model_validate(data)
    first, _, last = (data for _, _, data in topics.published)
    assert (first["reason"], first["amount"], first["at"]) == ("WindowFull", "0.5", 12)
    assert (last["number"], last["targetTxHash"]) == (3, "0x" + "02" * 32)
    assert (last["sourceTxHash"], last["reason"]) == (None, None)


async def test_steps_stay_untold_while_the_bus_is_away() -> None:
    topics, stored = Topics(), Stored(notice(1))
    told = BridgeNotices(notices=stored, ticks=topics, log=FakeSink())
    topics.down = True
    with pytest.raises(TransientError):
        await told.step()
    assert len(stored.untold) == 1 and told.told == 0
    topics.down = False
    await told.step()
    assert not stored.untold and told.told == 1


async def test_old_events_of_vaults_are_forgotten_part_by_part_until_none_is_left() -> None:
    stored = Stored()
    stored.old_events = 2 * BRIDGE_SWEEP_ROWS + 1
    notices = BridgeNotices(notices=stored, ticks=Topics(), log=FakeSink())
    assert [await notices.forget_events() for _ in range(3)] == [BRIDGE_SWEEP_ROWS] * 2 + [0]
    assert stored.old_events == 0 and stored.forgotten == [BRIDGE_EVENTS_KEPT_S] * 3


async def test_step_is_told_at_once_when_somebody_says_that_there_is_one(monkeypatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 60.0)
    stored = Stored()
    notices = BridgeNotices(notices=stored, ticks=Topics(), log=FakeSink())
    async with beside([notices.run()]):
        await passed(0.05)
        stored.untold.append(notice(1))
        await passed(0.05)
        assert notices.told == 0
        notices.wake()
        await passed(0.05)
        assert notices.told == 1
