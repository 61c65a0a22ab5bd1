"""An attestor's journal is bounded, and what is not over, or was taken back, is not forgotten."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from actors import forgetting
from actors.attestor import FULL, WATCH_S, Attestor
from actors.forgetting import LOOKED_MAX, Forgetting
from actors.saying import Saying
from engine.bridge.attesting import DEEP, Found
from engine.bridge.control import REFUND, RELEASE, Attest, Declined
from engine.bridge.messages import Fate
from engine.errors import TransientError
from engine.limits import ATTESTATIONS_KEPT, ATTESTATIONS_MAX, ATTESTATIONS_OVER
from tests.support import transfers as t
from tests.support.fakes import FakeSink

KEPT, OVER = 50, 20
NOW = 1_000_000.0


@dataclass
class Memory:
    entries: list[Any] = field(default_factory=list)
    reason: str | None = None
    written: int = 0

    def halted(self) -> str | None:
        return self.reason

    def halt(self, reason: str, time: int) -> None:
        self.reason = reason

    def append(self, entry: Any) -> None:
        self.entries.append(entry)

    def forget(self, names: Any) -> None:
        self.entries = [one for one in self.entries if (one.kind, one.id) not in names]
        self.written += 1


@dataclass
class Chain:
    """A node: `final_number`, fates of messages, those refunded, and blocks that are gone."""

    chain: int
    final_number: int = 10**6
    fates: dict[bytes, Fate] = field(default_factory=dict)
    given_back: set[bytes] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    asked: int = 0
    away: bool = False

    async def chain_id(self) -> int:
        return self.chain

    async def final(self) -> Any:
        self._must_be_there()
        return SimpleNamespace(number=self.final_number)

    def _must_be_there(self) -> None:
        if self.away:
            raise TransientError("stale_chain", "Expected an answer")

    async def hashes(self, numbers: list[int]) -> list[bytes]:
        self._must_be_there()
        return [
            t.header(self.chain, one, fork=1 if one in self.gone else 0).hash for one in numbers
        ]

    async def fate(self, message_id: bytes, *, final: bool) -> Fate:
        self._must_be_there()
        assert final, "Expected the final state to be asked"
        self.asked += 1
        return self.fates.get(message_id, Fate.NONE)

    async def deposit(self, message_id: bytes) -> Any:
        self._must_be_there()
        return SimpleNamespace(refunded=message_id in self.given_back)


class World:
    """A journal, a node of each chain, and who forgets; `others` are more nodes of Sepolia."""

    def __init__(self, *others: Chain) -> None:
        self.memory = Memory()
        self.rise, self.sepolia = Chain(t.RISE), Chain(t.SEPOLIA)
        self.told: list[str] = []
        self.log = FakeSink()
        evidence: Any = {t.RISE: [self.rise], t.SEPOLIA: [self.sepolia, *others]}
        self.forgetting = Forgetting(
            evidence=evidence,
            halting={t.RISE: 1, t.SEPOLIA: min(2, 1 + len(others))},
            memory=self.memory,
            gone=self.told.append,
            saying=Saying(self.log),
            after_s=WATCH_S,
        )
        self.count = 0

    def attest(self, kind: str = RELEASE, *, block: int = 7, time: float = 0.0) -> Any:
        """A deposit in Sepolia that goes to RISE; of a refund, its end at RISE."""
        self.count += 1
        chain_id = t.SEPOLIA if kind == RELEASE else t.RISE
        entry = SimpleNamespace(
            kind=kind,
            id=self.count.to_bytes(32, "big"),
            chain_id=chain_id,
            block_number=block,
            block_hash=t.header(chain_id, block).hash,
            time=time,
        )
        self.memory.append(entry)
        return entry

    async def turns(self, count: int) -> set[Any]:
        found: set[Any] = set()
        for _ in range(count):
            found |= await self.forgetting.turn(NOW)
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    assert ATTESTATIONS_OVER < ATTESTATIONS_KEPT < ATTESTATIONS_MAX
    monkeypatch.setattr(forgetting, "ATTESTATIONS_KEPT", KEPT)
    monkeypatch.setattr(forgetting, "ATTESTATIONS_OVER", OVER)
    return World()


async def test_journal_of_a_long_history_is_bounded_and_the_newest_stay(world: World) -> None:
    longest = 0
    for _ in range(2_000):
        entry = world.attest()
        world.rise.fates[entry.id] = Fate.RELEASED if world.count % 3 else Fate.CANCELLED
        await world.forgetting.turn(NOW)
        longest = max(longest, len(world.memory.entries))
    assert longest <= KEPT + OVER + LOOKED_MAX
    newest = [one.id for one in world.memory.entries[-KEPT:]]
    assert newest == [n.to_bytes(32, "big") for n in range(world.count - KEPT + 1, 2_001)]
    assert world.memory.written <= 2_000 // OVER and world.told == []


async def test_what_never_ends_is_kept_and_keeps_nothing_else(world: World) -> None:
    stuck = [world.attest() for _ in range(3 * LOOKED_MAX)]
    for _ in range(500):
        entry = world.attest()
        world.rise.fates[entry.id] = Fate.RELEASED
        await world.turns(4)
    assert {one.id for one in stuck} <= {one.id for one in world.memory.entries}
    assert len(world.memory.entries) <= len(stuck) + KEPT + OVER + LOOKED_MAX


@pytest.mark.parametrize(
    ("kind", "end", "forgotten"),
    [
        (RELEASE, Fate.NONE, False),
        (RELEASE, Fate.QUEUED, False),
        (RELEASE, Fate.RELEASED, True),
        (RELEASE, Fate.CANCELLED, True),
        (REFUND, Fate.CANCELLED, False),
        (REFUND, "refunded", True),
    ],
)
async def test_it_goes_when_its_end_is_in_the_final_state_and_not_before(
    world: World, kind: str, end: Any, forgotten: bool
) -> None:
    for _ in range(OVER):
        entry = world.attest(kind)
        if end == "refunded":
            world.sepolia.given_back.add(entry.id)
        else:
            world.rise.fates[entry.id] = end
    for _ in range(KEPT):
        world.attest()
    assert bool(await world.turns(5)) is forgotten


@pytest.mark.parametrize(
    ("why", "final", "time"),
    [
        ("too near to the final block", 7 + DEEP - 1, 0.0),
        ("too young", 10**6, NOW - WATCH_S),
    ],
)
async def test_it_stays_while_its_block_is_young(
    world: World, why: str, final: int, time: float
) -> None:
    del why
    world.sepolia.final_number = final
    for _ in range(OVER + KEPT):
        world.rise.fates[world.attest(time=time).id] = Fate.RELEASED
    assert await world.turns(10) == set()
    world.sepolia.final_number = 7 + DEEP
    for one in world.memory.entries:
        one.time = 0.0
    assert len(await world.turns(10)) == OVER


async def test_block_that_is_gone_is_told_and_its_entry_stays(world: World) -> None:
    for number in range(OVER + KEPT):
        world.rise.fates[world.attest(block=number + 1).id] = Fate.RELEASED
    world.sepolia.gone.add(3)
    forgotten = await world.turns(20)
    assert world.told and "Block 3 of chain" in world.told[0]
    assert ("release", (3).to_bytes(32, "big")) not in forgotten


async def test_one_node_of_two_is_not_enough_to_forget_or_to_tell(world: World) -> None:
    other = Chain(t.SEPOLIA, final_number=7)
    world = World(other)
    for _ in range(OVER + KEPT):
        world.rise.fates[world.attest().id] = Fate.RELEASED
    assert await world.turns(10) == set()
    other.final_number = 10**6
    other.gone.add(7)
    assert await world.turns(10) == set() and world.told == []
    world.sepolia.gone.add(7)
    assert await world.turns(1) == set() and world.told
    for one in (world.sepolia, other):
        one.gone.clear()
    assert len(await world.turns(10)) == OVER


def said(world: World) -> list[str]:
    return [event for _, event, _ in world.log.lines]


@pytest.mark.parametrize("kind", [RELEASE, REFUND])
async def test_dead_endpoint_of_three_is_told_and_holds_nothing_up(world: World, kind: str) -> None:
    dead, other = Chain(t.SEPOLIA, away=True), Chain(t.SEPOLIA)
    world = World(dead, other)
    for _ in range(OVER + KEPT):
        entry = world.attest(kind)
        world.rise.fates[entry.id] = Fate.RELEASED
        world.sepolia.given_back.add(entry.id)
        other.given_back.add(entry.id)
    assert len(await world.turns(10)) == OVER
    assert said(world) == ["attestor_cannot_forget"] and world.told == []
    assert world.log.lines[0][2]["endpoint"] == 1


@pytest.mark.parametrize("kind", [RELEASE, REFUND])
async def test_what_one_endpoint_alone_confirms_is_kept_and_others_are_not(
    world: World, kind: str
) -> None:
    dead = Chain(t.SEPOLIA, away=True)
    world = World(dead)
    for _ in range(OVER + KEPT):
        entry = world.attest(kind)
        world.rise.fates[entry.id] = Fate.RELEASED
        world.sepolia.given_back.add(entry.id)
        dead.given_back.add(entry.id)
    assert await world.turns(10) == set() and said(world) == ["attestor_cannot_forget"]
    dead.away = False
    assert len(await world.turns(10)) == OVER
    dead.away = True
    for _ in range(OVER + KEPT):
        world.attest(kind)
    await world.turns(1)
    assert said(world) == ["attestor_cannot_forget"] * 2, "told anew, after it was over"


async def test_other_chain_without_any_answer_keeps_all_and_hides_no_block_that_is_gone(
    world: World,
) -> None:
    world.rise.away = True
    for _ in range(OVER + KEPT):
        world.rise.fates[world.attest().id] = Fate.RELEASED
    assert await world.turns(10) == set() and world.told == []
    # A block that is gone is told although the other chain is silent.
    world.sepolia.gone.add(7)
    await world.turns(1)
    assert world.told


async def test_block_that_one_endpoint_alone_denies_is_told_and_kept(world: World) -> None:
    liar = Chain(t.SEPOLIA)
    world = World(liar)
    for number in range(OVER + KEPT):
        world.rise.fates[world.attest(block=number + 1).id] = Fate.RELEASED
    liar.gone.add(3)
    await world.turns(20)
    ((level, event, fields),) = world.log.lines
    assert (level, event) == ("error", "attestor_endpoints_disagree")
    assert "Block 3 of chain" in fields["reason"] and "endpoint 1 alone" in fields["reason"]
    assert world.told == [] and 3 in {one.block_number for one in world.memory.entries}


async def test_refund_is_over_when_every_node_says_so(world: World) -> None:
    other = Chain(t.SEPOLIA)
    world = World(other)
    for _ in range(OVER + KEPT):
        world.sepolia.given_back.add(world.attest(REFUND).id)
    assert await world.turns(10) == set()
    other.given_back |= world.sepolia.given_back
    assert len(await world.turns(10)) == OVER


async def test_halted_one_forgets_nothing_also_where_it_was_halted_meanwhile(world: World) -> None:
    for _ in range(OVER + KEPT):
        world.rise.fates[world.attest().id] = Fate.RELEASED
    await world.turns(1)
    world.memory.reason = "a block is gone"
    asked = world.rise.asked
    assert await world.turns(10) == set() and world.rise.asked == asked
    world.memory.reason = None
    real = world.rise.fate

    async def halting(message_id: bytes, *, final: bool) -> Fate:
        world.memory.reason = "a block is gone"
        return await real(message_id, final=final)

    world.rise.fate = halting  # type: ignore[method-assign]
    assert await world.turns(10) == set() and world.memory.written == 0


class Asked(Chain):
    """Every message was deposited in block 7 and has no end."""

    async def event(self, kind: Any, message_id: bytes, *, block_number: int) -> Found:
        return Found(t.message(self.nonce), 7, t.header(self.chain, 7).hash, 10**6)

    async def deposit(self, message_id: bytes) -> Any:
        return SimpleNamespace(depositor=t.DEPOSITOR, amount=t.ETHER, refunded=False)

    async def refunded(self, message_id: bytes) -> bool:
        return False

    async def fate(self, message_id: bytes, *, final: bool) -> Fate:
        return Fate.NONE

    async def time(self) -> int:
        return 1_000

    async def signers(self) -> Any:
        return SimpleNamespace(addresses=(b"\x0a" * 20,), set_hash=b"\x03" * 32)

    nonce = 0


def attestor_of(chains: dict[int, Any], memory: Memory) -> Attestor:
    evidence: Any = {chain_id: [one] for chain_id, one in chains.items()}
    key: Any = SimpleNamespace(address=b"\x0a" * 20, sign=lambda digest: b"signed")
    digests: Any = SimpleNamespace(release_digest=lambda message, signers: b"digest")
    return Attestor(
        key=key,
        vaults=t.VAULTS,
        evidence=evidence,
        memory=memory,
        entry=SimpleNamespace,
        digests=digests,
        log=FakeSink(),
        wall_clock=lambda: NOW,
    )


async def test_attestor_of_a_full_journal_signs_nothing_new_and_what_it_signed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.attestor.ATTESTATIONS_MAX", 3)
    memory, chains = Memory(), {t.RISE: Asked(t.RISE), t.SEPOLIA: Asked(t.SEPOLIA)}
    attestor = attestor_of(chains, memory)

    async def asked(nonce: int) -> Any:
        chains[t.SEPOLIA].nonce = nonce
        return await attestor.attest(Attest(RELEASE, t.message(nonce), 7))

    for nonce in range(3):
        assert not isinstance(await asked(nonce), Declined)
    full = await asked(3)
    assert isinstance(full, Declined) and full.code == FULL
    assert not isinstance(await asked(1), Declined) and len(memory.entries) == 3


async def test_attestor_forgets_by_itself_and_its_memory_of_blocks_too(
    world: World,
) -> None:
    for _ in range(OVER + KEPT):
        world.rise.fates[world.attest().id] = Fate.RELEASED
    attestor = attestor_of({t.RISE: world.rise, t.SEPOLIA: world.sepolia}, world.memory)
    while not await attestor.forget():
        continue
    assert len(attestor._journal) == len(world.memory.entries) == KEPT
    # A block that is gone halts it, as the watch would.
    for _ in range(OVER):
        world.rise.fates[world.attest(block=9).id] = Fate.RELEASED
    for one in world.memory.entries[:OVER]:
        world.sepolia.gone.add(one.block_number)
    await attestor.forget()
    assert world.memory.reason is not None and "is gone" in world.memory.reason
