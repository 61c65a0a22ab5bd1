"""The attestor's watch: which blocks it looks at, however many it attested."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from actors.attestor import WATCH_MAX, Attestor
from engine.bridge.control import RELEASE, Attest, Declined
from engine.control import StatusWanted
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

    def forget(self, names: Any) -> None:
        raise AssertionError("Expected nothing to be forgotten")


@dataclass
class Evidence:
    """`gone` has another hash by now."""

    gone: int = -1
    asked: list[list[int]] = field(default_factory=list)

    async def hashes(self, numbers: list[int]) -> list[bytes]:
        self.asked.append(numbers)
        return [t.header(t.RISE, one, fork=one if one == self.gone else 0).hash for one in numbers]


def watching(*evidence: Evidence) -> tuple[Attestor, Memory]:
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
    chain: Any = list(evidence)
    key: Any = SimpleNamespace(address=bytes(20))
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


async def test_block_that_one_of_two_endpoints_denies_is_doubted_said_once_and_no_halt() -> None:
    liar = Evidence(gone=BLOCKS)
    attestor, memory = watching(liar, Evidence())
    for _ in range(3):
        await attestor.watch()
    asked = Attest(RELEASE, t.MESSAGE, 1)
    for _ in range(3):
        answer = await attestor.attest(asked)
        assert isinstance(answer, Declined) and answer.code == "disagreement"
    status = attestor.handlers[StatusWanted](StatusWanted())
    assert "endpoint 0 alone" in status["disagreement"] and status["disagreed"] == 3
    liar.gone = -1
    await attestor.watch()
    assert attestor.handlers[StatusWanted](StatusWanted())["disagreement"] is None
    sink: Any = attestor._log
    assert [event for _, event, _ in sink.lines] == [
        "attestor_endpoints_disagree",
        "attestor_endpoints_agree",
    ]
    assert memory.reason is None


async def test_block_that_two_of_three_endpoints_deny_halts() -> None:
    gone = Evidence(gone=BLOCKS)
    attestor, memory = watching(gone, Evidence(), gone)
    await attestor.watch()
    assert memory.reason is not None and f"Block {BLOCKS} " in memory.reason
