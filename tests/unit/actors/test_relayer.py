"""The relayer and its attestors: whom it waits for, and what it remembers of refusals."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from actors.relayer import REFUSALS_MAX, Put, Relayer
from chain import vault
from engine.bridge.control import RELEASE, Attest, Attested, Declined
from engine.bridge.requests import Action
from engine.control import Directory, Instance, StatusWanted
from engine.settings import BridgeSettings
from tests.support import transfers as t
from tests.support.fakes import FakeSink

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
