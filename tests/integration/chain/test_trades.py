"""Real transactions on the launchpad, each compared with the twin: events, state, balances."""

import random
from typing import Any

import pytest
from eth_abi.abi import decode

from curves.curve import CurveError
from tests.support.evm import ETHER, FOREVER, GAS, Event, Reverted, named
from tests.support.mirror import Mirror, launch
from tests.support.stage import Stage
from tests.support.trade_cases import (
    BUY_EXACT_IN,
    BUY_EXACT_OUT,
    SELL_EXACT_IN,
    SELL_EXACT_OUT,
    Case,
    numbers,
    quote,
    twin,
)

QUOTE_TYPES = ["(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool)"]


def _run(stage: Stage, mirror: Mirror, rng: random.Random, trades: int) -> None:
    trader = stage.chain.account("trader")
    # The recipient of every trade is another account, so it hands on what a sell takes.
    for _ in range(trades):
        kind = rng.randrange(4) if mirror.sold > 10**20 else rng.randrange(2)
        block = stage.chain.block_number() + 1
        amount = _small(mirror, kind, rng)
        case = mirror.case(kind, amount, at_block=block)
        if twin(case)[0] or quote(case).sold == mirror.world.curve.curve_supply:
            continue
        assert stage.pad.call(
            "quote", mirror.token, kind < 2, kind % 2 == 1, amount, block
        ) == dict(zip(_QUOTE_FIELDS, numbers(quote(case)), strict=True))
        if kind in (SELL_EXACT_IN, SELL_EXACT_OUT):
            _fund(stage, mirror, trader, quote(case).tokens)
        mirror.trade(kind, amount, sender=trader, extra=rng.choice([0, 1, 10**15]))


_QUOTE_FIELDS = (
    "tokens",
    "eth",
    "curveEth",
    "protocolFee",
    "creatorFee",
    "launchFee",
    "refund",
    "sold",
    "raised",
    "clipped",
)


def _small(mirror: Mirror, kind: int, rng: random.Random) -> int:
    if kind == BUY_EXACT_IN:
        return rng.choice([rng.randrange(1, 10**17), rng.randrange(10**4, 10**9)])
    if kind == BUY_EXACT_OUT:
        return rng.randrange(1, 10 ** rng.randrange(3, 26))
    if kind == SELL_EXACT_IN:
        return rng.randrange(1, mirror.sold // rng.choice([2, 100, 10**9]))
    return rng.randrange(1, max(2, mirror.raised // rng.choice([2, 100, 10**9])))


def _fund(stage: Stage, mirror: Mirror, trader: bytes, tokens: int) -> None:
    token = stage.token(mirror.token)
    token.send("transfer", trader, tokens, sender=stage.chain.account("recipient"))


@pytest.mark.parametrize("curve_id", [0, 1])
def test_trades_random_run_to_completion_equal_the_twin(stage: Stage, curve_id: int) -> None:
    rng = random.Random(curve_id)
    creator = stage.chain.account("creator")
    mirror, _ = launch(
        stage.chain, stage.pad, creator=creator, salt=curve_id, curve_id=curve_id, value=10**16
    )
    token = stage.token(mirror.token)
    token.send(
        "transfer",
        stage.chain.account("recipient"),
        token.call("balanceOf", creator),
        sender=creator,
    )
    _run(stage, mirror, rng, 40)
    stage.chain.mine(30)
    _run(stage, mirror, rng, 20)
    left = mirror.world.curve.curve_supply - mirror.sold
    mirror.trade(BUY_EXACT_OUT, left - 1, sender=creator)
    last = mirror.trade(BUY_EXACT_IN, 10**12, sender=creator)
    assert last.tokens == 1 and last.clipped and last.refund > 0
    assert mirror.completed
    for function, arguments, value in _all_trades(mirror.token, creator):
        with pytest.raises(Reverted) as refused:
            stage.pad.call(function, *arguments, sender=creator, value=value)
        assert (refused.value.name, refused.value.arguments) == (
            "MarketNotOpen",
            (mirror.token, 2),
        )
    with pytest.raises(Reverted, match="MarketNotOpen"):
        stage.pad.call("quote", mirror.token, True, False, 1, 1)


@pytest.mark.parametrize("kind", [BUY_EXACT_IN, BUY_EXACT_OUT])
def test_trades_clipping_buy_completes_and_refunds(stage: Stage, kind: int) -> None:
    creator = stage.chain.account("creator")
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=10 + kind)
    amount = 100 * ETHER if kind == BUY_EXACT_IN else 10**27
    before = stage.chain.balance(stage.pad.address)
    given = mirror.trade(kind, amount, sender=creator, extra=7)
    assert given.clipped and mirror.completed
    assert stage.chain.balance(stage.pad.address) - before == given.eth


def test_trades_first_buy_of_create_can_complete_the_curve(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    mirror, events = launch(stage.chain, stage.pad, creator=creator, salt=20, value=50 * ETHER)
    assert mirror.completed
    assert [event.name for event in events] == ["TokenCreated", "Trade", "Completed"]
    assert events[1].args["launchFee"] == 0, "the first buy is exempt"


def test_trades_launch_fee_falls_by_block_to_zero(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=30)
    shares = []
    for _ in range(16):
        given = mirror.trade(BUY_EXACT_IN, 10**15, sender=creator)
        shares.append(given.launch_fee * 10_000 // 10**15)
        stage.chain.mine(1)
    # Blocks 1, 3, 5, … after the launch, of 30.
    assert shares[:15] == [2_000 * (30 - age) // 30 for age in range(1, 31, 2)]
    assert shares[15] == 0


def test_trades_slippage_bounds_refuse_one_unit_beyond(stage: Stage) -> None:
    trader = stage.chain.account("trader")
    mirror, _ = launch(stage.chain, stage.pad, creator=trader, salt=40, value=ETHER)
    stage.chain.mine(30)  # the rates rest from here on
    block = stage.chain.block_number()
    tail = (trader, FOREVER, bytes(32))

    def expect(kind: int, amount: int) -> Any:
        return quote(mirror.case(kind, amount, at_block=block))

    bought = expect(BUY_EXACT_IN, ETHER // 10)
    cost = expect(BUY_EXACT_OUT, 10**24)
    paid = expect(SELL_EXACT_IN, 10**24)
    taken = expect(SELL_EXACT_OUT, 10**17)
    calls = [
        ("buy", lambda off: (bought.tokens + off,), lambda off: ETHER // 10),
        ("buyExactOut", lambda off: (10**24, 0), lambda off: cost.eth - off),
        ("buyExactOut", lambda off: (10**24, 10**24 + off), lambda off: cost.eth),
        ("sell", lambda off: (10**24, paid.eth + off), lambda off: 0),
        ("sellExactOut", lambda off: (10**17, taken.tokens - off), lambda off: 0),
    ]
    for function, arguments, value in calls:
        for off in (0, 1):
            options = {"sender": trader, "value": value(off)}
            if off == 0:
                stage.pad.call(function, mirror.token, *arguments(0), *tail, **options)
                continue
            with pytest.raises(Reverted, match="SlippageExceeded"):
                stage.pad.call(function, mirror.token, *arguments(1), *tail, **options)


def test_lens_quotes_and_markets_equal_the_twin(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    mirrors = [
        launch(
            stage.chain, stage.pad, creator=creator, salt=50 + i, curve_id=i % 2, value=10**17 + i
        )[0]
        for i in range(4)
    ]
    rng = random.Random(5)
    head = stage.chain.block_number()
    asked: list[tuple[Mirror, Case]] = []
    for mirror in mirrors * 25:
        kind = rng.randrange(4)
        amount = rng.choice([0, 2**112, rng.randrange(1, 10 ** rng.randrange(1, 28))])
        case = mirror.case(kind, amount, at_block=head + rng.randrange(40))
        asked.append((mirror, case))
    rows = [
        (mirror.token, case.kind < 2, case.kind % 2 == 1, case.amount, case.at_block)
        for mirror, case in asked
    ]
    answers = stage.lens.call("quotes", stage.pad.address, [*rows, (bytes(20), True, True, 1, 1)])
    for (_, case), answer in zip(asked, answers[:-1], strict=True):
        try:
            expected = numbers(quote(case))
        except CurveError as error:
            assert not answer["ok"]
            assert named(answer["result"]).name == type(error).__name__
        else:
            assert answer["ok"] and decode(QUOTE_TYPES, answer["result"])[0] == expected
    assert named(answers[-1]["result"]).name == "UnknownToken"
    states = stage.lens.call(
        "markets", stage.pad.address, [*(mirror.token for mirror in mirrors), bytes(20)]
    )
    assert [(s["phase"], s["sold"], s["raised"], s["seq"]) for s in states[:-1]] == [
        (1, mirror.sold, mirror.raised, mirror.seq) for mirror in mirrors
    ]
    assert (states[-1]["phase"], states[-1]["fees"]["protocolBps"]) == (0, 0)


def test_launchpad_stays_solvent_and_its_events_have_no_gap(stage: Stage) -> None:
    # Last in the module: it looks at everything that the module did, and adds claims.
    chain, pad = stage.chain, stage.pad
    creators = [chain.account("creator"), chain.account("trader")]
    heir = chain.account("heir", 0)
    for step in range(3):
        owed = pad.call("protocolFees") + sum(pad.call("creatorFees", each) for each in creators)
        raised = sum(pad.call("market", token)["raised"] for token in _tokens(stage))
        assert chain.balance(pad.address) == raised + owed
        if step == 0:
            gained = pad.call("protocolFees")
            assert gained > 0
            before = chain.balance(heir)
            pad.send("claimProtocolFees", heir, sender=stage.owner)
            assert chain.balance(heir) - before == gained
        if step == 1:
            gained = sum(pad.call("creatorFees", each) for each in creators)
            before = chain.balance(heir)
            for each in creators:
                pad.send("claimCreatorFees", heir, sender=each)
            assert gained > 0 and chain.balance(heir) - before == gained
    assert pad.call("protocolFees") == 0
    events = _history(stage)
    assert [e.args["eventSeq"] for e in events] == list(range(1, pad.call("eventSeq") + 1))
    for token in _tokens(stage):
        seqs = [e.args["seq"] for e in events if e.args.get("token") == token]
        assert seqs == list(range(1, pad.call("market", token)["seq"] + 1))


def test_gas_of_trades_stays_near_the_design(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    params = ("Gas", "GAS", bytes(32), (77).to_bytes(32, "big"), 0, 0, FOREVER, bytes(32))
    created = stage.pad.transact("create", params, sender=creator)
    token = next(e for e in stage.pad.events(created) if e.name == "TokenCreated").args["token"]
    tail = (creator, FOREVER, bytes(32))
    stage.pad.transact("buy", token, 0, *tail, sender=creator, value=10**16)
    bought = stage.pad.transact("buy", token, 0, *tail, sender=creator, value=10**16)
    sold = stage.pad.transact("sell", token, 10**24, 0, *tail, sender=creator)
    used = [int(each["gasUsed"], 16) for each in (created, bought, sold)]
    assert used[0] < 3_200_000 and used[1] < 110_000 and used[2] < 110_000, used
    assert max(used) < GAS


def _all_trades(token: bytes, account: bytes) -> list[tuple[str, tuple[Any, ...], int]]:
    tail = (account, FOREVER, bytes(32))
    return [
        ("buy", (token, 0, *tail), 1),
        ("buyExactOut", (token, 1, 0, *tail), 1),
        ("sell", (token, 1, 0, *tail), 0),
        ("sellExactOut", (token, 1, 2**256 - 1, *tail), 0),
    ]


def _history(stage: Stage) -> list[Event]:
    first = hex(stage.pad.call("firstBlock"))
    query = {"fromBlock": first, "toBlock": "latest", "address": "0x" + stage.pad.address.hex()}
    return stage.pad.events({"logs": stage.chain.rpc("eth_getLogs", query)})


def _tokens(stage: Stage) -> list[bytes]:
    return [e.args["token"] for e in _history(stage) if e.name == "TokenCreated"]
