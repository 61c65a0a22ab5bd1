"""The attestor's watch: which blocks it looks at, however many it attested."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from actors.attestor import WATCH_MAX, Attestor
from tests.support import transfers as t
from tests.support.fakes import FakeSink

BLOCKS = 3_600


@dataclass
class Memory:
    """An attestation in each of many blocks of one chain."""

    entries: list[Any]
    reason: str | None = None

    def halted(self) -> str | None:
        return self.reason

    def halt(self, reason: str, time: int) -> None:
        self.reason = reason

    def append(self, entry: Any) -> None:
        raise AssertionError("Expected nothing to be attested")


@dataclass
class Evidence:
    """`gone` has another hash by now."""

    gone: int = -1
    asked: list[list[int]] = field(default_factory=list)

    async def hashes(self, numbers: list[int]) -> list[bytes]:
        self.asked.append(numbers)
        return [t.header(t.RISE, one, fork=one if one == self.gone else 0).hash for one in numbers]


def watching(evidence: Evidence) -> tuple[Attestor, Memory]:
    entries = [
        SimpleNamespace(
            kind="release",
            id=number.to_bytes(32, "big"),
            chain_id=t.RISE,
            block_number=number,
            block_hash=t.header(t.RISE, number).hash,
            time=100,
        )
        for number in range(1, BLOCKS + 1)
    ]
    memory, nothing = Memory(entries), SimpleNamespace()
    chain: Any = evidence
    key: Any = nothing
    digests: Any = nothing
    built = Attestor(
        key=key,
        vaults=t.VAULTS,
        evidence={t.RISE: chain},
        memory=memory,
        entry=SimpleNamespace,
        digests=digests,
        log=FakeSink(),
        wall_clock=lambda: 200.0,
    )
    return built, memory


async def test_watch_asks_for_few_blocks_a_turn_and_for_all_in_turns() -> None:
    evidence = Evidence()
    attestor, memory = watching(evidence)
    for _ in range(BLOCKS // (WATCH_MAX // 2)):
        await attestor.watch()
    assert max(map(len, evidence.asked)) <= WATCH_MAX
    assert {one for turn in evidence.asked for one in turn} == set(range(1, BLOCKS + 1))
    assert memory.reason is None


async def test_newest_block_that_is_gone_halts_in_the_first_turn() -> None:
    attestor, memory = watching(Evidence(gone=BLOCKS))
    await attestor.watch()
    assert memory.reason is not None and f"Block {BLOCKS} " in memory.reason


async def test_old_block_that_is_gone_halts_in_its_turn() -> None:
    attestor, memory = watching(Evidence(gone=7))
    for _ in range(BLOCKS // (WATCH_MAX // 2)):
        await attestor.watch()
    assert memory.reason is not None and "Block 7 " in memory.reason
