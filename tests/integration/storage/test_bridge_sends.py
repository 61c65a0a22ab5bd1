"""Whose turn it is to be sent, and how long a request waits after transactions that did not do its
work, over a real Postgres.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.bridge.sends import Fees, Outcome, Send, Settle
from storage import postgres
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import SMALL_SHARE, BridgeSends
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


def meant(key: Any) -> Send:
    return Send(
        chain_id=t.RISE,
        sender=SENDER,
        nonce=0,
        request=key,
        kind="release",
        to=b"\x09" * 20,
        data=b"",
        gas=1,
    )


async def sent(sends: BridgeSends, outcome: Outcome) -> None:
    send = meant(KEY)
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


async def test_small_ones_leave_most_places_to_others_and_are_looked_at_last(pool: Any) -> None:
    requests, sends = BridgeRequests(pool), BridgeSends(pool, waiting_max=2 * SMALL_SHARE)
    keys = [(t.SEPOLIA, 1, bytes([number]) * 32) for number in range(1, 10)]
    for number, key in enumerate(keys):
        amount_wei = t.ETHER if number == 8 else 1
        await requests.open(
            key, target_chain=t.RISE, user=t.DEPOSITOR, recipient=t.RECIPIENT, amount_wei=amount_wei
        )
    # The last one asked for is the only one that the doors would take.
    first, *others = await requests.due(9, least_wei=t.ETHER)
    assert first[0].key == keys[8] and len(others) == 8
    reserved = [await sends.reserve(meant(key), small=True) for key in keys[:3]]
    assert reserved == [0, 1, None]
    assert await sends.reserve(meant(keys[8])) == 2


async def test_flood_of_small_ones_keeps_no_other_from_its_turn(pool: Any) -> None:
    requests = BridgeRequests(pool)
    for number in range(1, 21):
        key, amount_wei = (t.SEPOLIA, 1, bytes([number]) * 32), t.ETHER if number == 20 else 1
        await requests.open(
            key, target_chain=t.RISE, user=t.DEPOSITOR, recipient=t.RECIPIENT, amount_wei=amount_wei
        )
    ((request, _),) = await requests.due(1, least_wei=t.ETHER)
    assert request.key[2] == bytes([20]) * 32


async def test_runbooks_words_for_a_lost_key_give_its_requests_to_another_account(
    pool: Any,
) -> None:
    await BridgeRequests(pool).open(
        KEY, target_chain=t.RISE, user=t.DEPOSITOR, recipient=t.RECIPIENT, amount_wei=t.ETHER
    )
    sends, other = BridgeSends(pool), replace(meant(KEY), sender=b"\x52" * 20)
    assert await sends.reserve(meant(KEY)) == 0
    assert await sends.reserve(other) is None
    runbook = (Path(__file__).parents[3] / "docs" / "bridge.md").read_text()
    (words,) = re.findall(r"```sql\n(.+?)```", runbook, re.DOTALL)
    address = "<the old address, without 0x>"
    assert address in words
    async with postgres.session(pool) as connection:
        await connection.execute(words.replace(address, SENDER.hex()))
    assert await sends.reserve(other) == 0
