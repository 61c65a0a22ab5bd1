"""Endpoints that lie about the relayer's nonce: none is skipped, no row marked, no hole filled that
is none. Over a real node and a real Postgres.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from chain.rpc import JsonRpc
from chain.sender import Node
from deploy import datadir
from deploy.embedded import Embedded
from storage import postgres
from storage.bridge_requests import BridgeRequests
from tests.bridge import nonces
from tests.bridge.chains import FINAL_BLOCKS, RISE, Chains, opened
from tests.bridge.nonces import GWEI, PATIENCE_S, Case, case_of
from tests.support.lying_rpc import LyingRpc, nonces_are


@pytest.fixture(scope="module")
def nodes() -> Iterator[Embedded]:
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        yield embedded


@pytest.fixture
async def chains(nodes: Embedded) -> AsyncIterator[Chains]:
    async with opened(nodes) as both:
        yield both


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Any]:
    made = await postgres.connect(postgres_url, size=4)
    await postgres.migrate(made)
    yield made
    made.terminate()


@asynccontextmanager
async def lied_to(
    chains: Chains, pool: Any, *, honest: int
) -> AsyncIterator[tuple[Case, LyingRpc]]:
    """A case whose nonces are told by an endpoint that may lie, and by so many that do not."""
    end = chains[RISE]
    async with AsyncExitStack() as stack:
        liar = await stack.enter_async_context(LyingRpc(end.settings.rpc_url))
        urls = [liar.rpc_url, *[end.settings.rpc_url] * honest]
        clients = [JsonRpc(url, timeout_s=5.0) for url in urls]
        for one in clients:
            stack.push_async_callback(one.close)
        counting = [Node(one, end.settings) for one in clients]
        yield await case_of(chains, end, pool, random.Random(1), counting=counting), liar


async def rows(case: Case) -> list[tuple[int, str, str | None]]:
    async with case.pool.acquire() as connection:
        found = await connection.fetch(
            "SELECT nonce, kind, outcome FROM bridge_sends WHERE sender = $1 ORDER BY nonce",
            case.account.address,
        )
    return [tuple(row) for row in found]


async def reserved(case: Case) -> bool:
    return await case.sending.reserve(
        case.key, "release", to=secrets.token_bytes(20), data=b"", gas=21_000
    )


async def another_request(case: Case, chains: Chains) -> None:
    case.key = (case.end.chain_id, 1, secrets.token_bytes(32))
    await BridgeRequests(case.pool).open(
        case.key,
        target_chain=chains.other(case.end.chain_id).chain_id,
        user=case.account.address,
        recipient=case.account.address,
        amount_wei=1,
    )


async def rounds_for_a_while(case: Case) -> None:
    for _ in range(6):
        await case.round()
        await asyncio.sleep(PATIENCE_S / 2)


@pytest.mark.parametrize("honest", [1, 2])
async def test_nonce_too_high_of_one_endpoint_skips_none_and_marks_no_row(
    chains: Chains, pool: Any, honest: int
) -> None:
    async with lied_to(chains, pool, honest=honest) as (case, liar):
        liar.lie = nonces_are(1_000)
        assert await reserved(case)
        case.node.deaf = True  # nothing is mined: the row waits
        await rounds_for_a_while(case)
        await case.end.mine(FINAL_BLOCKS)
        await rounds_for_a_while(case)
        assert await rows(case) == [(0, "release", None)]
        case.node.deaf = False
        assert (await case.settled())["outcome"] == "succeeded"
        assert await rows(case) == [(0, "release", "succeeded")]


async def test_nonce_too_high_told_once_by_the_only_endpoint_reserves_nothing(
    chains: Chains, pool: Any
) -> None:
    async with lied_to(chains, pool, honest=0) as (case, liar):
        liar.lie = nonces_are(1_000)
        assert not await reserved(case)
        await case.round()
        liar.lie = None
        assert await reserved(case)
        case.node.deaf = True
        await case.round()
        liar.lie = nonces_are(1_000)
        await case.round()
        assert await rows(case) == [(0, "release", None)]
        liar.lie, case.node.deaf = None, False
        await rounds_for_a_while(case)
        assert (await case.settled())["outcome"] == "succeeded"


@pytest.mark.parametrize("honest", [0, 1, 2])
async def test_nonce_too_low_of_one_endpoint_fills_nothing_and_reserves_the_next(
    chains: Chains, pool: Any, honest: int
) -> None:
    async with lied_to(chains, pool, honest=honest) as (case, liar):
        assert await reserved(case)
        assert (await case.settled())["outcome"] == "succeeded"
        await another_request(case, chains)
        case.node.deaf = True
        liar.lie = nonces_are(0)
        if honest:
            assert await reserved(case)
            await rounds_for_a_while(case)
        else:
            # The only one: what it says cannot be, so nothing is done.
            with pytest.raises(Exception, match="Expected a nonce of 1 or more"):
                await reserved(case)
            liar.lie = None
            assert await reserved(case)
        assert await rows(case) == [(0, "release", "succeeded"), (1, "release", None)]
        assert case.sending.status()["filled"] == 0
        liar.lie, case.node.deaf = None, False
        assert (await case.settled())["outcome"] == "succeeded"


async def test_nonces_that_others_used_are_passed_over_where_the_endpoints_agree(
    chains: Chains, pool: Any
) -> None:
    async with lied_to(chains, pool, honest=1) as (case, _):
        for nonce in range(3):
            raw, _ = case.account.sign(
                to=secrets.token_bytes(20),
                data=b"",
                gas=21_000,
                nonce=nonce,
                fees=(900 * GWEI, GWEI),
            )
            await case.end.node.send_raw(raw)
        await case.end.mine()
        assert await reserved(case)
        assert await rows(case) == [(3, "release", None)]


async def test_receipt_of_a_nonce_that_is_free_settles_nothing(chains: Chains, pool: Any) -> None:
    async with lied_to(chains, pool, honest=1) as (case, _):
        assert await reserved(case)
        case.node.deaf = True
        await case.round()
        (tx_hash,) = await case.offers()
        honest = case.node.receipt

        async def invented(asked: bytes) -> Any:
            if asked != tx_hash:
                return await honest(asked)
            return type("Receipt", (), {"tx_hash": asked, "status": 1, "block_number": 1})

        case.node.receipt = invented  # type: ignore[method-assign]
        await rounds_for_a_while(case)
        assert await rows(case) == [(0, "release", None)]
        del case.node.receipt
        case.node.deaf = False
        assert (await case.settled())["outcome"] == "succeeded"


async def test_offer_that_is_refused_each_round_is_said_once(chains: Chains, pool: Any) -> None:
    async with lied_to(chains, pool, honest=1) as (case, _):
        await case.end.rpc.call("anvil_setBalance", ["0x" + case.account.address.hex(), "0x0"])
        assert await reserved(case)
        said: list[str] = []
        log: Any = type("Log", (), {"warning": lambda _, event, **__: said.append(event)})()
        case.sending._saying._log = log
        await rounds_for_a_while(case)
        assert said.count("offer_refused") == 1


async def test_troubles_of_nonces_end_with_the_right_labels(chains: Chains, pool: Any) -> None:
    told = await nonces.run(chains, pool, random.Random(3), times=1)
    assert told.wrong == [] and told.cases == len(nonces.TROUBLES)
