"""Calls and sends against a real node and the real launchpad; the socket against liars."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from chain import transactions
from chain.decode import TOPICS
from chain.rpc import JsonRpc
from chain.stream import LiveStream
from engine.errors import CallerError, TransientError
from tests.support.servers import Anvil
from tests.support.trading import FOREVER, Traders, deployed

MakeAnvil = Callable[..., Anvil]


@asynccontextmanager
async def trading(anvil: Anvil) -> AsyncIterator[Traders]:
    chain, implementation = await deployed(anvil)
    traders = Traders(anvil, chain, implementation)
    try:
        yield traders
    finally:
        await traders.rpc.close()


async def test_node_calls_carry_the_contracts_own_codes(make_anvil: MakeAnvil) -> None:
    async with trading(make_anvil(block_time=None)) as traders:
        token, node = await traders.launch("alpha"), traders.node
        wallet, pad = traders.wallets[0], traders.chain.launchpad.address
        common = {"token": token, "recipient": wallet.address, "deadline": FOREVER}
        calls = [
            (transactions.buy(min_tokens=10**40, **common), 10**15, "slippage_exceeded"),
            (transactions.buy(min_tokens=0, **common), 0, "zero_output"),
            (transactions.sell(tokens=2**111, min_eth=0, **common), 0, "exceeds_sold"),
            (transactions.sell(tokens=2**112, min_eth=0, **common), 0, "amount_too_large"),
            (transactions.sell_exact_out(eth=10**30, max_tokens=1, **common), 0, "exceeds_sold"),
            (transactions.buy(min_tokens=0, **common | {"deadline": 1}), 1, "invalid_request"),
            (transactions.buy(min_tokens=0, **common | {"recipient": pad}), 1, "invalid_address"),
            (transactions.buy(min_tokens=0, **common | {"token": pad}), 1, "token_not_found"),
        ]
        for data, value, code in calls:
            with pytest.raises(CallerError) as caught:
                await node.call(to=pad, data=data, sender=wallet.address, value=value)
            assert caught.value.code == code
            tx = transactions.unsigned(
                chain_id=traders.chain.chain_id, sender=wallet.address, to=pad, data=data,
                value=value, gas=1_000_000, max_fee=1, max_priority_fee=1,
            )  # fmt: skip
            with pytest.raises(CallerError) as caught:
                await node.estimate_gas(tx)
            assert caught.value.code == code
        answer = await node.call(
            to=pad, data=calls[0][0][:36] + bytes(32) + calls[0][0][68:], sender=wallet.address,
            value=10**15,
        )  # fmt: skip
        assert len(answer) == 64


async def test_node_sends_once_however_often_it_is_asked(make_anvil: MakeAnvil) -> None:
    async with trading(make_anvil(block_time=0.5)) as traders:
        token, node, wallet = await traders.launch("alpha"), traders.node, traders.wallets[1]
        data = transactions.buy(
            token=token, min_tokens=0, recipient=wallet.address, deadline=FOREVER
        )
        raw = await wallet.sign(data, value=10**15)
        read = transactions.decode_raw(raw)
        transactions.admit(read, traders.chain)
        assert (read.sender, read.action, read.value) == (wallet.address, "buy", 10**15)
        assert await node.send_raw(raw) == await node.send_raw(raw) == read.hash
        receipt, again = await asyncio.gather(
            node.send_raw_sync(raw, 5.0), node.send_raw_sync(raw, 5.0)
        )
        assert receipt == again == await node.send_raw_sync(raw, 5.0)
        assert receipt is not None and receipt.tx_hash == read.hash and receipt.status == 1
        assert await node.send_raw(raw) == read.hash
        assert await node.nonce(wallet.address) == 1
        assert (await node.fees())[0] > 0 and await node.balance(wallet.address) > 10**18


async def test_node_not_mined_in_time_is_none_then_found(make_anvil: MakeAnvil) -> None:
    async with trading(make_anvil(block_time=3.0)) as traders:
        node, wallet = traders.node, traders.wallets[1]
        raw = await wallet.sign(transactions.claim_creator_fees(recipient=wallet.address))
        assert await node.send_raw_sync(raw, 0.2) is None
        assert await node.send_raw_sync(raw, 8.0) is not None


async def test_node_revert_reason_names_the_contracts_error(make_anvil: MakeAnvil) -> None:
    async with trading(make_anvil(block_time=None)) as traders:
        token, wallet = await traders.launch("alpha"), traders.wallets[1]
        data = transactions.buy(
            token=token, min_tokens=10**40, recipient=wallet.address, deadline=FOREVER
        )
        receipt = await traders.node.send_raw_sync(await wallet.sign(data, value=10**15), 5.0)
        assert receipt is not None and receipt.status == 0
        assert "SlippageExceeded" in await traders.node.revert_reason(receipt.tx_hash)


async def test_node_balances_in_one_call_at_a_block(make_anvil: MakeAnvil) -> None:
    async with trading(make_anvil(block_time=None)) as traders:
        tokens = [await traders.launch(name) for name in ("alpha", "beta")]
        wallet = traders.wallets[1]
        data = transactions.buy(
            token=tokens[0], min_tokens=0, recipient=wallet.address, deadline=FOREVER
        )
        raw = await wallet.sign(data, value=10**15)
        receipt = await traders.node.send_raw_sync(raw, 5.0)
        assert receipt is not None and receipt.status == 1
        block, asked = receipt.block_number, [*tokens, b"\x09" * 20]
        held = await traders.node.balances(wallet.address, asked, block=block)
        assert held[0] and held[1:] == [0, None]
        before = await traders.node.balances(wallet.address, asked, block=block - 1)
        assert before == [0, 0, None]


async def test_rpc_dead_node_is_transient() -> None:
    rpc = JsonRpc("http://127.0.0.1:1", timeout_s=0.5)
    with pytest.raises(TransientError, match="stale_chain"):
        await rpc.call("eth_chainId", [])
    await rpc.close()


# ------------------------------------------------------------------ the socket


@asynccontextmanager
async def server(
    *messages: str | bytes | list[str], replies: bool = True, closes: bool = False
) -> AsyncIterator[str]:
    """Answers both subscriptions, then says `messages`."""

    async def handle(socket: ServerConnection) -> None:
        try:
            for number in (1, 2):
                await socket.recv()
                if replies:
                    await socket.send(f'{{"id":{number},"result":"0x{number}"}}')
            for message in messages:
                await socket.send(message)
            if closes:
                await socket.close()
            await socket.wait_closed()
        except websockets.ConnectionClosed:
            return

    async with serve(handle, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"


def push(subscription: str, result: str = '{"number":"0x1"}') -> str:
    return f'{{"params":{{"subscription":"{subscription}","result":{result}}}}}'


async def test_stream_frames_are_told_apart_and_strangers_ignored() -> None:
    strange = ['{"params":{}}', '{"id":9}', push("0x9")]
    async with server(*strange, push("0x2"), push("0x1")) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        found = [await anext(frames), await anext(frames)]
        assert [frame.kind for frame in found] == ["log", "head"]
        assert found[0].payload == {"number": "0x1"}
        assert 0 < found[0].received_ns <= found[1].received_ns
        await stream.close()


@pytest.mark.parametrize(
    "message",
    ["nonsense", "[1]", b"\xff\x00", push("0x1", "5")],
    ids=["text", "list", "bytes", "int"],
)
async def test_stream_nonsense_ends_it(message: str | bytes) -> None:
    async with server(message) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        with pytest.raises(TransientError):
            await anext(frames)
        await stream.close()


async def test_stream_message_in_parts_is_put_together_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [push("0x1")[:20], push("0x1")[20:40], push("0x1")[40:]]
    async with server(parts, push("0x2")) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        assert [(await anext(frames)).kind for _ in range(2)] == ["head", "log"]
        await stream.close()
    monkeypatch.setattr("chain.stream.MESSAGE_BYTES_MAX", 200)
    async with server(["{", *[" " * 100] * 3, "}"]) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        with pytest.raises(TransientError, match="200 bytes"):
            await anext(frames)
        await stream.close()
    monkeypatch.setattr("chain.stream.PARTS_MAX", 9)
    async with server(["{", *[""] * 9, "}"]) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        with pytest.raises(TransientError, match="9 parts"):
            await anext(frames)
        await stream.close()


async def test_stream_that_says_goodbye_gives_what_came_before_and_ends() -> None:
    async with server(push("0x1"), closes=True) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        assert (await anext(frames)).kind == "head"
        with pytest.raises(TransientError, match="is gone"):
            await anext(frames)
        await stream.close()


async def test_stream_unread_frames_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.stream.SUBSCRIPTION_QUEUE", 5)
    async with server(*[push("0x1")] * 50) as url:
        stream = LiveStream(url, TOPICS)
        frames = await stream.frames()
        await asyncio.sleep(0.2)
        with pytest.raises(TransientError, match="behind"):
            for _ in range(6):
                await anext(frames)
        await stream.close()


async def test_stream_refused_subscription_is_transient() -> None:
    async with server(replies=False) as url:
        stream = LiveStream(url, TOPICS, timeout_s=0.3)
        with pytest.raises(TransientError):
            await stream.frames()
