"""Real graduations of both families, then real trades on the pair, each against the twin."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.decode import Decoder, raw_log
from curves.curve import CurveError
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool
from engine.messages import (
    VENUE_POOL,
    ChainEvent,
    Graduated,
    PoolSwapped,
    PoolSynced,
    Traded,
    Transferred,
)
from engine.settings import Deployment
from tests.support.chain_settings import settings
from tests.support.evm import ETHER, FOREVER, Reverted
from tests.support.mirror import TAG, Mirror, launch
from tests.support.pool_mirror import PoolMirror, buy_out, pool_quote
from tests.support.stage import Stage
from tests.support.trade_cases import (
    BUY_EXACT_IN,
    BUY_EXACT_OUT,
    SELL_EXACT_IN,
    SELL_EXACT_OUT,
)

FEES = (100, 50, 2_000, 30, 0, 0)
POOL_FEES = (100, 50, 2_000, 30, 70, 30)
MAX = 2**256 - 1


def _graduating(
    stage: Stage, *, curve_id: int = 0, token_first: bool = True, fees: tuple[int, ...] = FEES
) -> Mirror:
    creator = stage.chain.account("creator")
    stage.pad.send("setFees", fees, sender=stage.owner)
    salt = stage.salt_for(creator, token_first=token_first, after=_next_salt(stage))
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=salt, curve_id=curve_id)
    stage.chain.mine(30)
    buy_out(mirror, sender=creator)
    _hand_over(stage, mirror.token, stage.chain.account("trader"))
    return mirror


def _hand_over(stage: Stage, token: bytes, trader: bytes) -> None:
    # The recipient of every trade is another account.
    recipient, contract = stage.chain.account("recipient"), stage.token(token)
    contract.send("transfer", trader, contract.call("balanceOf", recipient), sender=recipient)


def _next_salt(stage: Stage) -> int:
    return int(stage.pad.call("eventSeq")) * 1_000


def _open(stage: Stage, **options: Any) -> PoolMirror:
    mirror = _graduating(stage, **options)
    return PoolMirror.graduate(stage, mirror, sender=stage.chain.account("anybody"))


# ------------------------------------------------------------------- graduations


@pytest.mark.parametrize("token_first", [True, False])
@pytest.mark.parametrize("curve_id", [0, 1])
@pytest.mark.parametrize("fees", [FEES, POOL_FEES])
def test_pool_random_trades_through_the_launchpad_equal_the_twin(
    stage: Stage, curve_id: int, token_first: bool, fees: tuple[int, ...]
) -> None:
    rng = random.Random(f"{curve_id}{token_first}{fees}")
    trader = stage.chain.account("trader")
    market = _open(stage, curve_id=curve_id, token_first=token_first, fees=fees)
    assert market.rates == FeeRates(fees[4], fees[5], 0)
    passed = 0
    for _ in range(24):
        kind = rng.randrange(4)
        amount = _amount(market.pool, kind, rng)
        try:
            expected = pool_quote(market.pool, market.rates, kind, amount)
        except CurveError as error:
            with pytest.raises(Reverted, match=type(error).__name__):
                stage.pad.call("quote", market.token, kind < 2, kind % 2 == 1, amount, 0)
            continue
        _hand_over(stage, market.token, trader)
        held = stage.token(market.token).call("balanceOf", trader)
        if not expected.is_buy and expected.tokens > held:
            continue
        market.trade(kind, amount, sender=trader, extra=rng.choice([0, 1, 10**15]))
        passed += 1
    assert passed >= 12


def _amount(pool: Pool, kind: int, rng: random.Random) -> int:
    part = rng.choice([2, 10, 1_000, 10**9, 10**17])
    in_eth = kind in (BUY_EXACT_IN, SELL_EXACT_OUT)
    return rng.randrange(1, max(2, (pool.reserve_weth if in_eth else pool.reserve_token) // part))


def test_graduate_is_anybodys_and_happens_once(stage: Stage) -> None:
    mirror = _graduating(stage)
    anybody = stage.chain.account("anybody")
    PoolMirror.graduate(stage, mirror, sender=anybody)
    for function in ("graduate", "reopen"):
        with pytest.raises(Reverted) as refused:
            stage.pad.call(function, mirror.token, sender=anybody)
        assert (refused.value.name, refused.value.arguments) == (
            "MarketNotOpen",
            (mirror.token, 3),
        )


def test_graduate_before_the_end_or_of_a_stranger_is_refused(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=7, value=ETHER)
    for function in ("graduate", "reopen"):
        with pytest.raises(Reverted) as refused:
            stage.pad.call(function, mirror.token, sender=creator)
        assert (refused.value.name, refused.value.arguments) == (
            "MarketNotOpen",
            (mirror.token, 1),
        )
        with pytest.raises(Reverted, match="UnknownToken"):
            stage.pad.call(function, creator, sender=creator)


def test_launchpad_ether_from_anybody_but_weth_is_refused(stage: Stage) -> None:
    with pytest.raises(Reverted, match="Unauthorized"):
        stage.chain.call(stage.pad.address, b"", sender=stage.owner, value=1)
    with pytest.raises(Reverted):
        stage.chain.call(stage.pad.address, b"\x12\x34\x56\x78", sender=stage.owner, value=1)
    stage.chain.call(stage.pad.address, b"", sender=stage.weth.address, value=0)


# ------------------------------------------------------------------- pool trades


def test_pool_trade_beyond_its_bound_by_one_unit_is_refused(stage: Stage) -> None:
    market = _open(stage, fees=POOL_FEES)
    trader = stage.chain.account("trader")
    tail = (trader, FOREVER, TAG)

    def expect(kind: int, amount: int) -> Any:
        return pool_quote(market.pool, market.rates, kind, amount)

    bought = expect(BUY_EXACT_IN, ETHER // 10)
    cost = expect(BUY_EXACT_OUT, 10**24)
    paid = expect(SELL_EXACT_IN, 10**24)
    taken = expect(SELL_EXACT_OUT, 10**17)
    calls: list[tuple[str, Callable[[int], tuple[int, ...]], Callable[[int], int]]] = [
        ("buy", lambda off: (bought.tokens + off,), lambda off: ETHER // 10),
        ("buyExactOut", lambda off: (10**24, 0), lambda off: cost.eth - off),
        ("buyExactOut", lambda off: (10**24, 10**24 + off), lambda off: cost.eth),
        ("sell", lambda off: (10**24, paid.eth + off), lambda off: 0),
        ("sellExactOut", lambda off: (10**17, taken.tokens - off), lambda off: 0),
    ]
    for function, bounds, value in calls:
        stage.pad.call(function, market.token, *bounds(0), *tail, sender=trader, value=value(0))
        with pytest.raises(Reverted, match="SlippageExceeded"):
            stage.pad.call(function, market.token, *bounds(1), *tail, sender=trader, value=value(1))


def test_pool_fees_are_owed_to_protocol_and_creator(stage: Stage) -> None:
    market = _open(stage, fees=POOL_FEES)
    creator, trader = stage.chain.account("creator"), stage.chain.account("trader")
    before = stage.pad.call("protocolFees"), stage.pad.call("creatorFees", creator)
    bought = market.trade(BUY_EXACT_IN, ETHER, sender=trader)
    sold = market.trade(SELL_EXACT_IN, 10**25, sender=trader)
    after = stage.pad.call("protocolFees"), stage.pad.call("creatorFees", creator)
    assert bought.fee == ETHER // 100 and sold.creator_fee == sold.curve_eth * 30 // 10_000
    assert (after[0] - before[0], after[1] - before[1]) == (
        bought.protocol_fee + sold.protocol_fee,
        bought.creator_fee + sold.creator_fee,
    )


def test_pool_trade_with_a_gift_in_the_pair_pays_as_quoted_and_takes_it_in(stage: Stage) -> None:
    # Somebody left WETH and tokens beside the reserves: a trade is still computed from these,
    # and its event says what they are after it.
    market = _open(stage)
    trader = stage.chain.account("trader")
    stage.weth.send("deposit", sender=trader, value=ETHER)
    stage.weth.send("transfer", market.pair.address, ETHER, sender=trader)
    stage.token(market.token).send("transfer", market.pair.address, 10**20, sender=trader)
    expected = pool_quote(market.pool, market.rates, BUY_EXACT_IN, ETHER)
    arguments = (market.token, expected.tokens, trader, FOREVER, TAG)
    (trade,) = [
        event.args
        for event in stage.pad.send("buy", *arguments, sender=trader, value=ETHER)
        if event.name == "Trade"
    ]
    assert trade["tokens"] == expected.tokens
    assert (trade["sold"], trade["raised"]) == (expected.sold + 10**20, expected.raised + ETHER)
    market.pool, market.seq = Pool(trade["sold"], trade["raised"]), market.seq + 1
    market.check_state()
    market.trade(SELL_EXACT_OUT, ETHER, sender=trader)


def test_pool_trades_go_on_while_others_swap_sync_skim_and_give_liquidity(stage: Stage) -> None:
    market = _open(stage, token_first=False)
    trader, other = stage.chain.account("trader"), stage.chain.account("other")
    token, pair = stage.token(market.token), market.pair
    path = [stage.weth.address, market.token]
    for spender in (stage.router.address,):
        token.send("approve", spender, MAX, sender=trader)
        pair.send("approve", spender, MAX, sender=trader)

    def buy_by_router() -> None:
        arguments = (0, path, other, FOREVER)
        stage.router.send("swapExactETHForTokens", *arguments, sender=trader, value=ETHER)

    def sell_by_router() -> None:
        arguments = (10**25, 0, path[::-1], other, FOREVER)
        stage.router.send("swapExactTokensForETH", *arguments, sender=trader)

    def add_liquidity() -> None:
        arguments = (market.token, 10**25, 0, 0, trader, FOREVER)
        stage.router.send("addLiquidityETH", *arguments, sender=trader, value=ETHER)
        assert pair.call("balanceOf", trader) > 0

    def remove_liquidity() -> None:
        arguments = (market.token, pair.call("balanceOf", trader), 0, 0, trader, FOREVER)
        stage.router.send("removeLiquidityETH", *arguments, sender=trader)

    def give_and(function: str, *arguments: Any) -> Callable[[], None]:
        def act() -> None:
            token.send("transfer", pair.address, 10**22, sender=trader)
            pair.send(function, *arguments, sender=other)

        return act

    deeds = [
        buy_by_router,
        add_liquidity,
        sell_by_router,
        give_and("sync"),
        give_and("skim", other),
        remove_liquidity,
    ]
    for deed in deeds:
        deed()
        market.refresh()
        for kind, amount in [
            (BUY_EXACT_IN, 10**17),
            (SELL_EXACT_OUT, 10**16),
            (BUY_EXACT_OUT, 10**23),
            (SELL_EXACT_IN, 10**23),
        ]:
            market.trade(kind, amount, sender=trader)


# ---------------------------------------------------------------------- decoded


@pytest.mark.parametrize("token_first", [True, False])
def test_decoded_events_of_a_pool_are_what_was_done(stage: Stage, token_first: bool) -> None:
    mirror = _graduating(stage, token_first=token_first)
    trader, other = stage.chain.account("trader"), stage.chain.account("other")
    recipient = stage.chain.account("recipient")
    token, pair = stage.token(mirror.token), stage.pair(mirror.token)
    decoder = _decoder(stage, {mirror.token: 2}, {pair.address: mirror.token})

    stage.weth.send("deposit", sender=trader, value=10 * ETHER)
    early = pair.transact("sync", sender=other)
    (event,) = _decoded(stage, decoder, early)
    assert isinstance(event, PoolSynced) and event.reserve_token == 0

    receipt = stage.pad.transact("graduate", mirror.token, sender=other)
    events = _decoded(stage, decoder, receipt)
    (synced,) = [one for one in events if isinstance(one, PoolSynced)]
    graduated = events[-1]
    assert isinstance(graduated, Graduated)
    assert graduated.pair == synced.at.emitter == pair.address and synced.at.version == 2
    assert (synced.reserve_token, synced.reserve_weth) == (
        graduated.reserve_token,
        graduated.reserve_weth,
    )
    assert graduated.reserve_weth == graduated.eth_to_pool == mirror.raised
    pool = Pool(graduated.reserve_token, graduated.reserve_weth)

    arguments = (mirror.token, 0, recipient, FOREVER, TAG)
    receipt = stage.pad.transact("buy", *arguments, sender=trader, value=ETHER)
    events = _decoded(stage, decoder, receipt)
    assert [type(one) for one in events] == [Transferred, PoolSynced, Traded]
    traded = events[-1]
    assert isinstance(traded, Traded)
    assert (traded.venue, traded.trader, traded.recipient) == (VENUE_POOL, trader, recipient)
    pool = _follows(pool, events, traded.sold, traded.raised)

    # By the router: who sold is the sender of the tokens, not the router.
    token.send("approve", stage.router.address, MAX, sender=trader)
    path = [mirror.token, stage.weth.address]
    selling = (10**24, 0, path, recipient, FOREVER)
    receipt = stage.router.transact("swapExactTokensForETH", *selling, sender=trader)
    sale = _swap(_decoded(stage, decoder, receipt))
    assert (sale.is_buy, sale.trader, sale.tokens) == (False, trader, 10**24)
    assert (sale.recipient, sale.eth) == (stage.router.address, pool.proceeds_of_tokens(10**24))

    pool = Pool(pool.reserve_token + 10**24, pool.reserve_weth - sale.eth)
    buying = (0, path[::-1], recipient, FOREVER)
    receipt = stage.router.transact("swapExactETHForTokens", *buying, sender=trader, value=ETHER)
    purchase = _swap(_decoded(stage, decoder, receipt))
    assert (purchase.is_buy, purchase.trader) == (True, recipient)
    assert (purchase.eth, purchase.tokens) == (ETHER, pool.tokens_for_eth(ETHER))

    # Straight on the pair, with more put in than the swap needs.
    stage.weth.send("transfer", pair.address, ETHER, sender=trader)
    outs = (10**18, 0) if token_first else (0, 10**18)
    receipt = pair.transact("swap", *outs, other, b"", sender=trader)
    straight = _swap(_decoded(stage, decoder, receipt))
    assert (straight.is_buy, straight.trader, straight.recipient) == (True, other, other)
    assert (straight.tokens, straight.eth) == (10**18, ETHER)


def _swap(events: list[ChainEvent]) -> PoolSwapped:
    (swap,) = [one for one in events if isinstance(one, PoolSwapped)]
    (synced,) = [one for one in events if isinstance(one, PoolSynced)]
    assert synced.at.log_index == swap.at.log_index - 1
    assert not [one for one in events if isinstance(one, Traded)]
    return swap


def _follows(pool: Pool, events: list[ChainEvent], token: int, weth: int) -> Pool:
    (synced,) = [one for one in events if isinstance(one, PoolSynced)]
    assert (synced.reserve_token, synced.reserve_weth) == (token, weth)
    assert weth == pool.reserve_weth + ETHER
    return Pool(token, weth)


def _decoder(stage: Stage, tokens: dict[bytes, int], pairs: dict[bytes, bytes]) -> Decoder:
    pad = Deployment(address=stage.pad.address, lens=stage.lens.address, first_block=1, version=2)
    chain = settings(launchpads=(pad,), weth=stage.weth.address)
    return Decoder(chain, tokens, pairs)


def _decoded(stage: Stage, decoder: Decoder, receipt: dict[str, Any]) -> list[ChainEvent]:
    # The order of a block's logs must not matter, nor that one comes twice.
    logs = [raw_log(json) for json in receipt["logs"]]
    shuffled = random.Random(1).sample(logs, len(logs))
    events = list(decoder.decode([*shuffled, logs[0]], block_time=1))
    made = {event.at.log_index for event in events}
    assert made == {log.log_index for log in logs if decoder.ours(log)}
    preconfirmed = [replace(log, block_hash=None) for log in logs]
    assert len(decoder.decode(preconfirmed, block_time=1)) == len(events)
    return events
