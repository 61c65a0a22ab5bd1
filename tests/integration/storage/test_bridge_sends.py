"""How long a request waits after transactions that did not do its work, over a real Postgres."""

from dataclasses import replace
from typing import Any

from engine.bridge.sends import Fees, Outcome, Send, Settle
from storage import postgres
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import BridgeSends
from tests.support import transfers as t

KEY = (t.SEPOLIA, 1, b"\x07" * 32)
SENDER = b"\x51" * 20


async def wait_of(pool: Any) -> float:
    async with postgres.session(pool) as connection:
        return float(
            await connection.fetchval(
                "SELECT extract(epoch FROM next_at - now())::float8 FROM bridge_requests"
            )
        )


async def sent(sends: BridgeSends, outcome: Outcome) -> None:
    send = Send(
        chain_id=t.RISE,
        sender=SENDER,
        nonce=0,
        request=KEY,
        kind="release",
        to=b"\x09" * 20,
        data=b"",
        gas=1,
    )
    nonce = await sends.reserve(send)
    assert nonce is not None
    send, tx_hash = replace(send, nonce=nonce), nonce.to_bytes(32, "big")
    await sends.offer(send, tx_hash, Fees(2, 1))
    assert await sends.settle(send, Settle(outcome, tx_hash, 5))


async def test_wait_doubles_with_each_revert_whatever_else_was_tried_in_vain(pool: Any) -> None:
    await BridgeRequests(pool).open(
        KEY, target_chain=t.RISE, user=t.DEPOSITOR, recipient=t.RECIPIENT, amount_wei=t.ETHER
    )
    async with postgres.session(pool) as connection:
        await connection.execute("UPDATE bridge_requests SET attempts = 30")
    sends = BridgeSends(pool)
    for wanted_s in (2, 4, 8):
        await sent(sends, Outcome.REVERTED)
        assert wanted_s - 1 < await wait_of(pool) <= wanted_s
    await sent(sends, Outcome.SUCCEEDED)
    assert await wait_of(pool) <= 0
    for _ in range(8):
        await sent(sends, Outcome.REVERTED)
    assert 119 < await wait_of(pool) <= 120
