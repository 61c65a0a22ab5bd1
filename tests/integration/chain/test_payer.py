"""The payer against a real pool of transactions: stuck ones are replaced, one is mined."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from chain import transactions
from chain.payer import Payer
from chain.rpc import JsonRpc
from chain.sender import Node
from engine.errors import CallerError
from tests.support.chain_settings import settings
from tests.support.servers import Anvil

MakeAnvil = Callable[..., Anvil]
NOBODY = bytes.fromhex("11" * 20)
GAS = 50_000


@asynccontextmanager
async def paying(anvil: Anvil, *, key: int = 1, wait_s: float = 1.0) -> AsyncIterator[Payer]:
    rpc = JsonRpc(anvil.rpc_url, timeout_s=10)
    chain = settings(chain_id=anvil.chain_id, rpc_timeout_s=10.0)
    try:
        node = Node(rpc, chain)
        yield Payer(node, private_key=anvil.keys()[key], chain_id=anvil.chain_id, wait_s=wait_s)
    finally:
        await rpc.close()


async def test_payer_mined_at_once(make_anvil: MakeAnvil) -> None:
    async with paying(make_anvil(block_time=None)) as payer:
        mined = await payer.send(to=NOBODY, data=b"", gas=GAS, value=3)
        assert mined.status == 1 and payer.replaced == 0
        assert await payer.balance() < 10_000 * 10**18


async def test_payer_stuck_transaction_is_replaced_and_one_of_them_mined(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=None)
    anvil.rpc("evm_setAutomine", False)
    async with paying(anvil, wait_s=0.2) as payer:
        sending = asyncio.create_task(payer.send(to=NOBODY, data=b"", gas=GAS, value=3))
        while payer.replaced < 2:
            await asyncio.sleep(0.02)
        anvil.rpc("anvil_mine", "0x1")
        assert (await sending).status == 1
    assert int(anvil.rpc("eth_getBalance", "0x" + NOBODY.hex(), "latest"), 16) == 3
    assert int(anvil.rpc("txpool_status")["pending"], 16) == 0


async def test_payer_after_a_crash_takes_over_the_nonce_that_waits(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=None)
    anvil.rpc("evm_setAutomine", False)
    async with paying(anvil, wait_s=0.2) as dead:
        left = asyncio.create_task(dead.send(to=NOBODY, data=b"", gas=GAS, value=3))
        while dead.replaced < 1:
            await asyncio.sleep(0.02)
        left.cancel()
    async with paying(anvil, wait_s=0.2) as payer:
        sending = asyncio.create_task(payer.send(to=NOBODY, data=b"", gas=GAS, value=5))
        while payer.replaced < 3:
            await asyncio.sleep(0.02)
        anvil.rpc("anvil_mine", "0x1")
        assert (await sending).status == 1
    paid = int(anvil.rpc("eth_getBalance", "0x" + NOBODY.hex(), "latest"), 16)
    assert paid == 5, "of one nonce one transaction, the newest"


async def test_payer_that_is_given_up_leaves_its_nonce_to_the_next_at_once(
    make_anvil: MakeAnvil,
) -> None:
    anvil = make_anvil(block_time=None)
    anvil.rpc("evm_setAutomine", False)
    async with paying(anvil, wait_s=0.2) as payer:
        given_up = asyncio.create_task(payer.send(to=NOBODY, data=b"", gas=GAS, value=3))
        while payer.replaced < 3:
            await asyncio.sleep(0.02)
        sending = asyncio.create_task(payer.send(to=NOBODY, data=b"", gas=GAS, value=5))
        given_up.cancel()
        replaced = payer.replaced
        while "'value': '0x5'" not in str(anvil.rpc("txpool_content")):
            await asyncio.sleep(0.02)
        assert payer.replaced <= replaced + 1, "its first offer is above what waits"
        anvil.rpc("anvil_mine", "0x1")
        assert (await sending).status == 1
    assert int(anvil.rpc("eth_getBalance", "0x" + NOBODY.hex(), "latest"), 16) == 5


async def test_payer_without_ether_is_refused(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time=None)
    async with paying(anvil) as payer:
        anvil.rpc("anvil_setBalance", "0x" + payer.address.hex(), "0x1")
        with pytest.raises(CallerError, match="refused"):
            await payer.send(to=NOBODY, data=b"", gas=GAS)


async def test_payer_revert_is_a_receipt_of_status_zero(make_anvil: MakeAnvil) -> None:
    async with paying(make_anvil(block_time=None)) as payer:
        # The deployment proxy reverts on anything that is no contract.
        proxy = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
        data = transactions.graduate(token=NOBODY)
        assert (await payer.send(to=proxy, data=data, gas=GAS)).status == 0
