"""The attestor's watch: which blocks it looks at, however many it attested."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from actors.attestor import DIFFERING_S, WATCH_MAX, Attestor
from engine.bridge.attesting import Found
from engine.bridge.control import RELEASE, Attest, Attested, Declined
from engine.bridge.messages import Fate
from engine.control import StatusWanted
from engine.errors import TransientError
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


@dataclass
class Endpoint(Evidence):
    """An endpoint that answers everything; `fork` is where it has the deposit."""

    fork: int = 0
    away: bool = False

    async def chain_id(self) -> int:
        return t.SEPOLIA

    async def event(self, kind: type, message_id: bytes, *, block_number: int) -> Found:
        if self.away:
            raise TransientError("stale_chain", "Expected an answer")
        return Found(t.MESSAGE, 10, t.header(t.SEPOLIA, 10, fork=self.fork).hash, 12)

    async def deposit(self, message_id: bytes) -> Any:
        return SimpleNamespace(depositor=t.DEPOSITOR, amount=t.ETHER, refunded=False)

    async def refunded(self, message_id: bytes) -> bool:
        return False


class Target(Endpoint):
    async def chain_id(self) -> int:
        return t.RISE

    async def fate(self, message_id: bytes, *, final: bool) -> Fate:
        return Fate.NONE

    async def signers(self) -> Any:
        return SimpleNamespace(addresses=(bytes(20),), set_hash=bytes(32))

    async def time(self) -> int:
        return t.MESSAGE.deadline


class Journal(Memory):
    def append(self, entry: Any) -> None:
        self.entries.append(entry)


async def test_event_that_one_endpoint_alone_has_in_another_block_halts_nobody() -> None:
    one, two = Endpoint(), Endpoint()
    memory = Journal([])
    key: Any = SimpleNamespace(address=bytes(20), sign=lambda digest: digest)
    digests: Any = SimpleNamespace(release_digest=lambda message, signers: bytes(32))
    evidence: Any = {t.SEPOLIA: [one, two], t.RISE: [Target()]}
    attestor = Attestor(
        key=key,
        vaults=t.VAULTS,
        evidence=evidence,
        memory=memory,
        entry=SimpleNamespace,
        digests=digests,
        log=FakeSink(),
        quorum=1,
    )
    asked = Attest(RELEASE, t.MESSAGE, 10)
    assert isinstance(await attestor.attest(asked), Attested) and len(memory.entries) == 1
    # The quorum of one would believe it; for a halt it takes the other one too.
    one.fork, two.away = 9, True
    answer = await attestor.attest(asked)
    assert isinstance(answer, Declined) and answer.code == "disagreement"
    assert memory.reason is None and len(memory.entries) == 1
    two.fork, two.away = 9, False
    answer = await attestor.attest(asked)
    assert isinstance(answer, Declined) and answer.code == "halted"
    assert memory.reason is not None


async def test_disagreement_of_a_message_that_is_given_up_is_shown_for_a_while_only() -> None:
    now = [0.0]
    attestor, _ = watching(Evidence())
    attestor._wall_clock = lambda: now[0]
    attestor._note(b"id", Declined("disagreement", "they differ"))
    status = attestor.handlers[StatusWanted]
    assert status(StatusWanted())["disagreement"] == "they differ"
    now[0] = DIFFERING_S + 1
    assert status(StatusWanted())["disagreement"] is None
