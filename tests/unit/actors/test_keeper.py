"""The keeper opens what is sold out, once, and never hammers what refuses."""

from dataclasses import dataclass, field
from typing import Any

from actors import keeper
from actors.keeper import Keeper
from chain import transactions
from engine.control import StatusWanted
from engine.errors import CallerError, TransientError
from tests.support.chain_settings import settings
from tests.support.fake_roles import Log
from tests.support.scenario import address_of

TOKEN, OTHER = address_of("one"), address_of("two")


@dataclass
class _Receipt:
    tx_hash: bytes = b"\x07" * 32
    status: int = 1


@dataclass
class _World:
    """Store, node and payer in one; `now` is the clock."""

    due: list[tuple[bytes, int]] = field(default_factory=lambda: [(TOKEN, 2)])
    refusal: Exception | None = None
    away: Exception | None = None
    status: int = 1
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)
    simulated: int = 0
    now: float = 100.0
    address: bytes = address_of("payer")

    async def graduating(self, limit: int) -> list[tuple[bytes, int]]:
        if self.away is not None:
            raise self.away
        return self.due[:limit]

    async def call(self, *, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        self.simulated += 1
        assert sender == self.address
        if self.refusal is not None:
            raise self.refusal
        return b""

    async def balance(self) -> int:
        return 10**18

    async def send(self, *, to: bytes, data: bytes, gas: int) -> _Receipt:
        assert gas <= 16_000_000
        self.sent.append((to, data))
        return _Receipt(status=self.status)


def built(world: _World, *, paid: bool = True) -> tuple[Keeper, Log]:
    log = Log()
    made = Keeper(
        chain=settings(),
        store=world,
        node=world,
        payer=world if paid else None,
        graduate=lambda token: transactions.graduate(token=token),
        log=log,
        clock=lambda: world.now,
    )
    return made, log


def status(made: Keeper) -> dict[str, Any]:
    return dict(made.handlers[StatusWanted](StatusWanted()))


VERSION = settings().launchpad.version


async def test_keeper_sold_out_market_is_graduated_once_on_its_own_launchpad() -> None:
    world = _World(due=[(TOKEN, VERSION)])
    made, _ = built(world)
    for _ in range(5):  # the rows are a moment behind
        await made.round()
    assert world.sent == [(settings().launchpad.address, transactions.graduate(token=TOKEN))]
    assert status(made) == {"graduating": 1, "graduated": 1, "refused": 0, "can_pay": True}


async def test_keeper_graduation_that_a_reorg_took_back_is_sent_again() -> None:
    world = _World(due=[(TOKEN, VERSION)])
    made, _ = built(world)
    await made.round()
    world.now += keeper.SETTLED_BLOCKS * settings().block_time_s + 1
    await made.round()
    assert len(world.sent) == 2


async def test_keeper_refused_market_is_tried_ever_more_slowly_and_said_once() -> None:
    world = _World(due=[(TOKEN, VERSION)], refusal=CallerError("invalid_request", "no"))
    made, log = built(world)
    for _ in range(100):
        await made.round()
        world.now += 1.0
    assert world.sent == [] and 5 <= world.simulated <= 7
    assert log.events().count("graduation_refused") == 1


async def test_keeper_one_refused_market_does_not_hold_up_the_next() -> None:
    world = _World(due=[(TOKEN, 99), (OTHER, VERSION)])
    made, _ = built(world)
    await made.round()
    assert [data for _, data in world.sent] == [transactions.graduate(token=OTHER)]


async def test_keeper_reverted_transaction_is_no_graduation() -> None:
    world = _World(due=[(TOKEN, VERSION)], status=0)
    made, _ = built(world)
    await made.round()
    await made.round()
    assert len(world.sent) == 1 and status(made)["graduated"] == 0


async def test_keeper_store_or_node_away_is_waited_for() -> None:
    world = _World(due=[(TOKEN, VERSION)], away=TransientError("store_unavailable", "away"))
    made, log = built(world)
    await made.round()
    await made.round()
    assert log.events() == ["keeper_trouble"]
    world.away, world.refusal = None, TransientError("stale_chain", "away")
    await made.round()
    world.refusal = None
    await made.round()
    assert len(world.sent) == 1


async def test_keeper_without_a_key_counts_and_sends_nothing() -> None:
    world = _World(due=[(TOKEN, VERSION)])
    made, _ = built(world, paid=False)
    await made.round()
    assert world.sent == [] and status(made)["graduating"] == 1
    assert status(made)["can_pay"] is False


async def test_keeper_remembers_a_bounded_number(monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "REMEMBERED_MAX", 3)
    tokens = [address_of(f"token {number}") for number in range(10)]
    world = _World(due=[(token, VERSION) for token in tokens])
    made, _ = built(world)
    await made.round()
    assert len(world.sent) == 10 and len(made._later) == 3
