"""One nonce at a time: replaced when it waits, never queued, never mined twice."""

import asyncio
from dataclasses import dataclass, field

import pytest
from eth_account import Account

from chain.payer import FEE_CAP_WEI, ROUNDS, Payer, raised
from chain.transactions import RawTransaction, decode_raw
from engine.errors import CallerError, TransientError

KEY = "0x" + "17" * 32
PAD = bytes.fromhex("11" * 20)


@dataclass
class _Mined:
    tx_hash: bytes
    status: int = 1


@dataclass
class _Node:
    """Mines the `mined_at`-th offer; before, refuses with `refusal` where there is one."""

    mined_at: int = 1
    refusal: CallerError | None = None
    late: bool = False
    stolen: bool = False
    offers: list[RawTransaction] = field(default_factory=list)
    receipts: dict[bytes, _Mined] = field(default_factory=dict)
    used: int = 7

    async def fees(self) -> tuple[int, int]:
        return 1_000, 10

    async def nonce(self, address: bytes, *, mined: bool = False) -> int:
        assert mined
        return self.used

    async def balance(self, address: bytes) -> int:
        return 5

    async def receipt(self, tx_hash: bytes) -> _Mined | None:
        return self.receipts.get(tx_hash)

    async def send_raw_sync(self, raw: bytes, timeout_s: float) -> _Mined | None:
        offer = decode_raw(raw)
        self.offers.append(offer)
        if self.stolen:
            self.used += 1
            return None
        if len(self.offers) < self.mined_at:
            if self.refusal is not None:
                raise self.refusal
            return None
        self.used += 1
        mined = _Mined(self.offers[0].hash if self.late else offer.hash)
        self.receipts[mined.tx_hash] = mined
        return None if self.late else mined


def payer(node: _Node) -> Payer:
    return Payer(node, private_key=KEY, chain_id=5, wait_s=0.1)


async def send(node: _Node) -> bytes:
    return (await payer(node).send(to=PAD, data=b"\x01", gas=90_000)).tx_hash


async def test_payer_mined_at_once_is_one_offer_with_the_first_free_nonce() -> None:
    node = _Node()
    assert await send(node) == node.offers[0].hash
    (offer,) = node.offers
    assert offer.sender == bytes.fromhex(Account.from_key(KEY).address[2:])
    assert (offer.nonce, offer.to, offer.data, offer.gas) == (7, PAD, b"\x01", 90_000)


async def test_payer_waiting_offer_is_replaced_for_an_eighth_more() -> None:
    node = _Node(mined_at=4)
    assert await send(node) == node.offers[3].hash
    assert {offer.nonce for offer in node.offers} == {7}
    fees = [offer.max_fee for offer in node.offers]
    assert fees == [1_000, 1_125, 1_266, 1_425]


async def test_payer_earlier_offer_mined_after_its_replacement_is_found() -> None:
    node = _Node(mined_at=3, late=True)
    assert await send(node) == node.offers[0].hash


async def test_payer_underpriced_because_of_an_earlier_process_offers_more() -> None:
    node = _Node(mined_at=3, refusal=CallerError("x", "The node refused: replacement underpriced"))
    assert await send(node) == node.offers[2].hash


async def test_payer_no_ether_is_the_callers_matter() -> None:
    node = _Node(mined_at=3, refusal=CallerError("invalid_request", "insufficient funds"))
    with pytest.raises(CallerError, match="insufficient"):
        await send(node)
    assert len(node.offers) == 1


async def test_payer_nonce_used_elsewhere_is_transient_and_never_signed_again() -> None:
    node = _Node(stolen=True)
    with pytest.raises(TransientError, match="nonce_used"):
        await send(node)
    assert len(node.offers) == 1


async def test_payer_never_mined_gives_up_after_its_rounds() -> None:
    node = _Node(mined_at=100)
    with pytest.raises(TransientError, match="not_mined"):
        await send(node)
    assert len(node.offers) == ROUNDS


async def test_payer_of_one_that_was_given_up_takes_its_nonce_above_its_price() -> None:
    node = _Node(mined_at=100)
    payer_ = payer(node)
    real, gate = node.send_raw_sync, asyncio.Event()

    async def pending(raw: bytes, timeout_s: float) -> _Mined | None:
        await real(raw, timeout_s)
        if len(node.offers) < 3:
            return None
        return await asyncio.wait_for(gate.wait(), 60) and None

    node.send_raw_sync = pending  # type: ignore[method-assign]
    first = asyncio.create_task(payer_.send(to=PAD, data=b"\x01", gas=90_000))
    while len(node.offers) < 3:
        await asyncio.sleep(0)
    second = asyncio.create_task(payer_.send(to=PAD, data=b"\x02", gas=90_000))
    node.send_raw_sync, node.mined_at = real, 4  # type: ignore[method-assign]
    first.cancel()
    async with asyncio.timeout(2):
        assert (await second).tx_hash == node.offers[3].hash
    assert [one.nonce for one in node.offers] == [7] * 4
    assert [one.max_fee for one in node.offers] == [1_000, 1_125, 1_266, 1_425]
    assert [one.data for one in node.offers] == [b"\x01"] * 3 + [b"\x02"]
    # What was mined is no price for the next nonce.
    node.mined_at = 5
    await payer_.send(to=PAD, data=b"\x03", gas=90_000)
    assert (node.offers[4].nonce, node.offers[4].max_fee) == (8, 1_000)


async def test_payer_that_fails_above_one_given_up_beats_its_price_when_it_tries_again() -> None:
    node = _Node(mined_at=100)
    payer_ = payer(node)
    real = node.send_raw_sync

    async def hanging(raw: bytes, timeout_s: float) -> _Mined | None:
        await real(raw, timeout_s)
        return await asyncio.sleep(60) if len(node.offers) == 3 else None

    async def away(raw: bytes, timeout_s: float) -> _Mined | None:
        raise TransientError("stale_chain", "Expected an answer")

    node.send_raw_sync = hanging  # type: ignore[method-assign]
    first = asyncio.create_task(payer_.send(to=PAD, data=b"\x01", gas=90_000))
    while len(node.offers) < 3:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    node.send_raw_sync = away  # type: ignore[method-assign]
    with pytest.raises(TransientError, match="stale_chain"):
        await payer_.send(to=PAD, data=b"\x02", gas=90_000)
    node.send_raw_sync, node.mined_at = real, 4  # type: ignore[method-assign]
    await payer_.send(to=PAD, data=b"\x02", gas=90_000)
    assert (node.offers[3].data, node.offers[3].max_fee) == (b"\x02", 1_425)


async def test_payer_whose_chain_mines_nothing_does_not_offer_more_with_each_call() -> None:
    node = _Node(mined_at=100)
    payer_ = payer(node)
    for _ in range(4):
        with pytest.raises(TransientError, match="not_mined"):
            await payer_.send(to=PAD, data=b"\x01", gas=90_000)
    fees = [offer.max_fee for offer in node.offers]
    assert fees == fees[:ROUNDS] * 4 and max(fees) < 1_700


def test_raised_fees_grow_in_both_follow_the_node_and_end_at_the_cap() -> None:
    assert raised((1_000, 0), (10, 0)) == (1_125, 1)
    assert raised((1_000, 100), (5_000, 300)) == (5_000, 300)
    assert raised((FEE_CAP_WEI, FEE_CAP_WEI), (1, 1)) == (FEE_CAP_WEI, FEE_CAP_WEI)
