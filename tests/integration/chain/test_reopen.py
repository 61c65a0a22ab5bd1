"""A graduation that does not come: after seven days sells resume, buys do not."""

import pytest

from chain.decode import Decoder, raw_log
from engine.messages import Reopened
from engine.settings import Deployment
from tests.support.chain_settings import settings
from tests.support.evm import FOREVER, Reverted
from tests.support.mirror import TAG, Mirror, launch
from tests.support.pool_mirror import PoolMirror, buy_out
from tests.support.stage import Stage
from tests.support.trade_cases import SELL_EXACT_IN, SELL_EXACT_OUT, quote

DELAY = 7 * 24 * 3_600


def _sold_out(stage: Stage, salt: int, curve_id: int = 0) -> Mirror:
    # What it buys goes to `recipient`, as every trade of a mirror.
    creator = stage.chain.account("creator")
    mirror, _ = launch(stage.chain, stage.pad, creator=creator, salt=salt, curve_id=curve_id)
    stage.chain.mine(30)
    buy_out(mirror, sender=creator)
    return mirror


def _completed_at(stage: Stage, mirror: Mirror) -> int:
    return int(stage.pad.call("market", mirror.token)["completedAt"])


def test_reopen_a_second_too_early_is_refused(stage: Stage) -> None:
    with stage.chain.undone():
        mirror = _sold_out(stage, 1)
        allowed = _completed_at(stage, mirror) + DELAY
        stage.chain.rpc("evm_setNextBlockTimestamp", hex(allowed - 1))
        stage.chain.mine(1)
        with pytest.raises(Reverted) as refused:
            stage.pad.call("reopen", mirror.token)
        assert (refused.value.name, refused.value.arguments[0]) == ("TooEarly", allowed)
        stage.chain.rpc("evm_setNextBlockTimestamp", hex(allowed))
        stage.chain.mine(1)
        stage.pad.call("reopen", mirror.token)


@pytest.mark.parametrize("curve_id", [0, 1])
def test_reopened_market_takes_sells_and_no_buys(stage: Stage, curve_id: int) -> None:
    holder, anybody = stage.chain.account("recipient"), stage.chain.account("anybody")
    with stage.chain.undone():
        mirror = _sold_out(stage, 2, curve_id)
        stage.chain.pass_time(DELAY)
        receipt = stage.pad.transact("reopen", mirror.token, sender=anybody)
        pad = Deployment(address=stage.pad.address, lens=bytes(20), first_block=1, version=2)
        decoder = Decoder(settings(launchpads=(pad,), weth=stage.weth.address))
        (event,) = decoder.decode([raw_log(log) for log in receipt["logs"]], block_time=1)
        assert isinstance(event, Reopened)
        mirror.seq += 1
        assert (event.token, event.seq) == (mirror.token, mirror.seq)
        assert event.event_seq == stage.pad.call("eventSeq")
        for kind, amount in [(SELL_EXACT_IN, 10**24), (SELL_EXACT_OUT, 10**17)]:
            block = stage.chain.block_number() + 1
            expected = quote(mirror.case(kind, amount, at_block=block))
            shown = stage.pad.call("quote", mirror.token, False, kind % 2 == 1, amount, block)
            assert (shown["tokens"], shown["eth"]) == (expected.tokens, expected.eth)
            exact_in = kind == SELL_EXACT_IN
            function = "sell" if exact_in else "sellExactOut"
            bound = expected.eth if exact_in else expected.tokens
            arguments = (mirror.token, amount, bound, holder, FOREVER, TAG)
            events = stage.pad.send(function, *arguments, sender=holder)
            (trade,) = [event.args for event in events if event.name == "Trade"]
            mirror.sold, mirror.raised, mirror.seq = expected.sold, expected.raised, mirror.seq + 1
            assert (trade["sold"], trade["raised"], trade["venue"]) == (
                mirror.sold,
                mirror.raised,
                0,
            )
            assert trade["seq"] == mirror.seq
        for function, amounts in [("buy", (0,)), ("buyExactOut", (1, 0))]:
            arguments = (mirror.token, *amounts, holder, FOREVER, TAG)
            with pytest.raises(Reverted) as refused:
                stage.pad.call(function, *arguments, sender=holder, value=10**18)
            assert (refused.value.name, refused.value.arguments) == (
                "MarketNotOpen",
                (mirror.token, 4),
            )
        for function in ("graduate", "reopen"):
            with pytest.raises(Reverted, match="MarketNotOpen"):
                stage.pad.call(function, mirror.token, sender=anybody)


def test_reopened_market_that_nobody_sold_into_still_graduates(stage: Stage) -> None:
    anybody = stage.chain.account("anybody")
    with stage.chain.undone():
        mirror = _sold_out(stage, 3)
        stage.chain.pass_time(DELAY)
        stage.pad.send("reopen", mirror.token, sender=anybody)
        mirror.seq += 1
        PoolMirror.graduate(stage, mirror, sender=anybody)
