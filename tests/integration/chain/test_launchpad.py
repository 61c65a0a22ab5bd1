"""The launchpad's rules beside its maths: launches, roles, fees, who may call what and when."""

from typing import Any

import pytest

from tests.support.evm import ETHER, FOREVER, Contract, Reverted
from tests.support.mirror import Mirror, launch
from tests.support.stage import Stage
from tests.support.trade_cases import BUY_EXACT_IN

NO_TAG = bytes(32)
ZERO = bytes(20)
FEES = (100, 50, 2_000, 30, 0, 0)


def _params(**changes: Any) -> tuple[Any, ...]:
    values = {
        "name": "Rise",
        "symbol": "R",
        "metadata": bytes(32),
        "salt": bytes(32),
        "curve_id": 0,
        "min_tokens": 0,
        "deadline": FOREVER,
        "tag": NO_TAG,
    }
    return tuple((values | changes).values())


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture(scope="module")
def mirror(stage: Stage) -> Mirror:
    """A token with something sold, launched by `creator`."""
    creator = stage.chain.account("creator")
    return launch(stage.chain, stage.pad, creator=creator, salt=1, value=ETHER // 10)[0]


# ------------------------------------------------------------------ launches


def test_create_token_stands_where_the_view_says(stage: Stage) -> None:
    creator = stage.chain.account("creator")
    expected = stage.pad.call("tokenAddress", creator, _word(2))
    mirror, events = launch(
        stage.chain, stage.pad, creator=creator, salt=2, name="Größe 🐱", symbol="ÖÖ"
    )
    created = events[0].args
    assert mirror.token == expected == created["token"]
    assert (created["pairPreexisted"], created["seq"]) == (False, 1)
    assert created["pair"] == stage.factory.call("getPair", expected, stage.weth.address)
    token = stage.token(expected)
    assert (token.call("name"), token.call("symbol"), token.call("decimals")) == (
        "Größe 🐱",
        "ÖÖ",
        18,
    )
    assert token.call("totalSupply") == token.call("balanceOf", stage.pad.address) == 10**27
    assert len([e for e in events if e.name == "Trade"]) == 0


def test_create_same_salt_other_creator_is_another_token(stage: Stage) -> None:
    first, second = stage.chain.account("creator"), stage.chain.account("trader")
    addresses = {
        launch(stage.chain, stage.pad, creator=each, salt=3)[0].token for each in (first, second)
    }
    assert len(addresses) == 2
    with pytest.raises(Reverted, match="FailedDeployment"):
        stage.pad.call("create", _params(salt=_word(3)), sender=first)


def test_create_with_a_pair_made_before_adopts_it(stage: Stage) -> None:
    creator, stranger = stage.chain.account("creator"), stage.chain.account("stranger")
    token = stage.pad.call("tokenAddress", creator, _word(4))
    stage.factory.send("createPair", stage.weth.address, token, sender=stranger)
    pair = stage.factory.call("getPair", token, stage.weth.address)
    # A donation of WETH, synced, neither blocks the launch nor the trades.
    stage.weth.send("deposit", sender=stranger, value=ETHER)
    stage.weth.send("transfer", pair, ETHER, sender=stranger)
    mirror, events = launch(stage.chain, stage.pad, creator=creator, salt=4, value=10**15)
    assert events[0].args["pairPreexisted"] is True
    assert events[0].args["pair"] == pair
    stage.chain.send(pair, bytes.fromhex("fff6cae9"), sender=stranger)  # sync()
    mirror.trade(BUY_EXACT_IN, 10**16, sender=stranger)
    with pytest.raises(Reverted, match="PoolNotOpen"):
        stage.token(token).call("transfer", pair, 1, sender=creator)


@pytest.mark.parametrize(
    ("name", "symbol", "good"),
    [
        ("x" * 200, "y" * 40, True),
        ("x" * 201, "y", False),
        ("x", "y" * 41, False),
        ("", "y", False),
        ("x", "", False),
        ("ö" * 101, "y", False),
    ],
)
def test_create_text_is_bounded_in_bytes(stage: Stage, name: str, symbol: str, good: bool) -> None:
    creator = stage.chain.account("creator")
    params = _params(name=name, symbol=symbol, salt=_word(5))
    if good:
        stage.pad.call("create", params, sender=creator)
        return
    with pytest.raises(Reverted, match="InvalidText"):
        stage.pad.call("create", params, sender=creator)


@pytest.mark.parametrize(
    ("changes", "value", "error"),
    [
        ({"deadline": 1}, 0, "Expired"),
        ({"curve_id": 2}, 0, "UnknownCurve"),
        ({"min_tokens": 1}, 0, "SlippageExceeded"),
        ({"min_tokens": 10**27}, 1, "ZeroOutput"),
        ({"min_tokens": 10**27}, 10**15, "SlippageExceeded"),
        ({}, 2**112, "AmountTooLarge"),
    ],
)
def test_create_bad_argument_is_refused(
    stage: Stage, changes: dict[str, Any], value: int, error: str
) -> None:
    rich = stage.chain.account("rich", 2**120)
    with pytest.raises(Reverted, match=error):
        stage.pad.call("create", _params(salt=_word(6), **changes), sender=rich, value=value)


def test_create_while_paused_is_refused_and_trades_go_on(stage: Stage, mirror: Mirror) -> None:
    creator = stage.chain.account("creator")
    (changed,) = stage.pad.send("setLaunchesPaused", True, sender=stage.owner)
    assert (changed.name, changed.args["paused"]) == ("LaunchesPausedChanged", True)
    with pytest.raises(Reverted, match="LaunchesPaused"):
        stage.pad.call("create", _params(salt=_word(7)), sender=creator)
    mirror.trade(BUY_EXACT_IN, 10**15, sender=creator)
    stage.pad.send("setLaunchesPaused", False, sender=stage.owner)
    stage.pad.call("create", _params(salt=_word(7)), sender=creator)


# -------------------------------------------------------------------- trades


def _trades(token: bytes, recipient: bytes, deadline: int) -> list[tuple[str, tuple[Any, ...]]]:
    tail = (recipient, deadline, NO_TAG)
    return [
        ("buy", (token, 0, *tail)),
        ("buyExactOut", (token, 10**18, 0, *tail)),
        ("sell", (token, 10**18, 0, *tail)),
        ("sellExactOut", (token, 10**9, 10**27, *tail)),
    ]


def _refused(stage: Stage, function: str, arguments: tuple[Any, ...]) -> Reverted:
    value = ETHER if function.startswith("buy") else 0
    sender = stage.chain.account("creator")
    with pytest.raises(Reverted) as refused:
        stage.pad.call(function, *arguments, sender=sender, value=value)
    return refused.value


@pytest.mark.parametrize("index", range(4))
def test_trade_forbidden_recipient_is_refused(stage: Stage, mirror: Mirror, index: int) -> None:
    pair = stage.pad.call("market", mirror.token)["pair"]
    for recipient in (ZERO, mirror.token, pair, stage.pad.address, stage.weth.address):
        function, arguments = _trades(mirror.token, recipient, FOREVER)[index]
        refused = _refused(stage, function, arguments)
        assert (refused.name, refused.arguments) == ("InvalidRecipient", (recipient,))


@pytest.mark.parametrize("index", range(4))
def test_trade_checks_deadline_then_recipient_then_token(
    stage: Stage, mirror: Mirror, index: int
) -> None:
    account, unknown = stage.chain.account("creator"), b"\x11" * 20
    for token, recipient, deadline, error in [
        (unknown, ZERO, 1, "Expired"),
        (unknown, ZERO, FOREVER, "InvalidRecipient"),
        (unknown, account, FOREVER, "UnknownToken"),
    ]:
        function, arguments = _trades(token, recipient, deadline)[index]
        assert _refused(stage, function, arguments).name == error
    function, arguments = _trades(mirror.token, account, FOREVER)[index]
    value = ETHER if function.startswith("buy") else 0
    stage.pad.call(function, *arguments, sender=account, value=value)


def test_sell_pulls_from_the_caller_only(stage: Stage, mirror: Mirror) -> None:
    # The standing allowance is of no use to anybody who holds nothing.
    thief = stage.chain.account("thief")
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        stage.pad.call("sell", mirror.token, 10**18, 0, thief, FOREVER, NO_TAG, sender=thief)


def test_launchpad_plain_ether_is_refused(stage: Stage) -> None:
    for data in (b"", b"\x12\x34\x56\x78"):
        with pytest.raises(Reverted):
            stage.chain.call(stage.pad.address, data, sender=stage.owner, value=1)


# ---------------------------------------------------------------- reentrancy


@pytest.fixture
def reenterer(stage: Stage, harness: dict[str, dict[str, Any]]) -> Contract:
    artifact = harness["Reenterer"]
    sender = stage.chain.account("attacker")
    target = stage.pad.address.rjust(32, b"\0")
    return Contract(stage.chain, artifact, stage.chain.create(artifact, target, sender=sender))


def test_trade_reentered_from_refund_or_payment_is_refused(
    stage: Stage, mirror: Mirror, reenterer: Contract
) -> None:
    attacker = stage.chain.account("attacker")
    me, pad, token = reenterer.address, stage.pad, mirror.token
    callbacks = [
        pad.data("buy", token, 0, me, FOREVER, NO_TAG),
        pad.data("sell", token, 10**18, 0, me, FOREVER, NO_TAG),
        pad.data("claimCreatorFees", me),
        pad.data("create", _params(salt=_word(8))),
    ]
    exact = pad.data("buyExactOut", token, 10**21, 0, me, FOREVER, NO_TAG)
    paid = pad.data("sell", token, 10**20, 0, me, FOREVER, NO_TAG)
    for count, callback in enumerate(callbacks):
        reenterer.send("arm", callback, sender=attacker)
        for attempt, (data, value) in enumerate([(exact, ETHER), (paid, 0)]):
            reenterer.send("execute", data, sender=attacker, value=value)
            assert reenterer.call("attempts") == 2 * count + attempt + 1
            assert reenterer.call("succeeded") is False
            assert reenterer.call("answer") == bytes.fromhex("3ee5aeb5")
    state = pad.call("market", token)
    mirror.sold, mirror.raised, mirror.seq = state["sold"], state["raised"], state["seq"]


def test_trade_recipient_that_refuses_ether_reverts_whole(
    stage: Stage, mirror: Mirror, reenterer: Contract
) -> None:
    creator = stage.chain.account("creator")
    reenterer.send("refuse", sender=creator)
    with pytest.raises(Reverted, match="TransferFailed"):
        stage.pad.call(
            "sell", mirror.token, 10**20, 0, reenterer.address, FOREVER, NO_TAG, sender=creator
        )
    mirror.check_state()


# ---------------------------------------------------------------------- fees


def test_fees_change_holds_for_later_launches_only(stage: Stage, mirror: Mirror) -> None:
    (changed,) = stage.pad.send("setFees", (9_000, 0, 900, 5, 9_900, 0), sender=stage.owner)
    assert (changed.name, changed.args["fees"]["protocolBps"]) == ("FeesChanged", 9_000)
    assert stage.pad.call("market", mirror.token)["fees"]["protocolBps"] == 100
    creator = stage.chain.account("creator")
    dear, _ = launch(stage.chain, stage.pad, creator=creator, salt=9, value=10**15)
    assert dear.world.fees.protocol_bps == 9_000
    dear.trade(BUY_EXACT_IN, 10**15, sender=creator)
    stage.pad.send("setFees", FEES, sender=stage.owner)
    mirror.trade(BUY_EXACT_IN, 10**15, sender=creator)


@pytest.mark.parametrize(
    ("fees", "total"), [((9_000, 500, 401, 1, 0, 0), 9_901), ((0, 0, 0, 0, 9_900, 1), 9_901)]
)
def test_fees_above_the_bound_are_refused(stage: Stage, fees: tuple[int, ...], total: int) -> None:
    with pytest.raises(Reverted) as refused:
        stage.pad.call("setFees", fees, sender=stage.owner)
    assert (refused.value.name, refused.value.arguments) == ("InvalidFees", (total,))


def test_claims_pay_their_owner_once(stage: Stage, mirror: Mirror) -> None:
    creator, heir = stage.chain.account("creator"), stage.chain.account("heir", 0)
    earned, protocol = stage.pad.call("creatorFees", creator), stage.pad.call("protocolFees")
    assert earned > 0 and protocol > 0
    before = stage.chain.balance(heir)
    (claimed,) = stage.pad.send("claimCreatorFees", heir, sender=creator)
    assert (claimed.args["creator"], claimed.args["amount"]) == (creator, earned)
    (claimed,) = stage.pad.send("claimProtocolFees", heir, sender=stage.owner)
    assert (claimed.args["recipient"], claimed.args["amount"]) == (heir, protocol)
    assert stage.chain.balance(heir) - before == earned + protocol
    (again,) = stage.pad.send("claimCreatorFees", heir, sender=creator)
    assert again.args["amount"] == 0
    with pytest.raises(Reverted, match="InvalidRecipient"):
        stage.pad.call("claimCreatorFees", ZERO, sender=creator)
    mirror.check_state()


# --------------------------------------------------------------------- owner


def test_owner_functions_refuse_everybody_else(stage: Stage) -> None:
    thief = stage.chain.account("thief")
    curve = (0, 15 * 10**17, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23)
    for function, arguments in [
        ("claimProtocolFees", (thief,)),
        ("addCurve", (curve,)),
        ("setFees", (FEES,)),
        ("setLaunchesPaused", (True,)),
        ("proposeOwner", (thief,)),
        ("acceptOwner", ()),
    ]:
        with pytest.raises(Reverted) as refused:
            stage.pad.call(function, *arguments, sender=thief)
        assert (refused.value.name, refused.value.arguments) == ("Unauthorized", (thief,))


def test_curve_added_by_owner_is_kept_and_a_bad_one_refused(stage: Stage) -> None:
    good = (0, 3 * 10**18, 1_073 * 10**24, 7_931 * 10**23, 2_069 * 10**23)
    count = stage.pad.call("curveCount")
    (added,) = stage.pad.send("addCurve", good, sender=stage.owner)
    assert (added.name, added.args["curveId"], added.args["a"]) == ("CurveAdded", count, good[1])
    assert tuple(stage.pad.call("curve", count).values()) == good
    short = (1, 14 * 10**8, 3 * 10**7, 7_931 * 10**23, 2_069 * 10**23)
    with pytest.raises(Reverted, match="InvalidCurve"):
        stage.pad.call("addCurve", short, sender=stage.owner)
    with pytest.raises(Reverted, match="UnknownCurve"):
        stage.pad.call("curve", count + 1)


def test_owner_changes_in_two_steps(stage: Stage) -> None:
    heir = stage.chain.account("next owner")
    (proposed,) = stage.pad.send("proposeOwner", heir, sender=stage.owner)
    assert (proposed.name, proposed.args["proposed"]) == ("OwnerProposed", heir)
    assert stage.pad.call("owner") == stage.owner
    (changed,) = stage.pad.send("acceptOwner", sender=heir)
    assert changed.args["previous"] == stage.owner and stage.pad.call("owner") == heir
    with pytest.raises(Reverted, match="Unauthorized"):
        stage.pad.call("setLaunchesPaused", True, sender=stage.owner)
    stage.pad.send("proposeOwner", stage.owner, sender=heir)
    stage.pad.send("acceptOwner", sender=stage.owner)
    with pytest.raises(Reverted, match="Unauthorized"):
        stage.pad.call("acceptOwner", sender=heir)
