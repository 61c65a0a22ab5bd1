"""What each role may do to a vault, when, and nobody else."""

from typing import Any

import pytest

from tests.model.vault import HOUR, message_id
from tests.support.evm import ETHER
from tests.support.vault_bench import GUARDIAN, LIMIT, OWNER, PROVIDER, Step, release_data
from tests.support.vault_play import DAY, OTHER, USER, Play, refused
from tests.support.vault_signing import attestors, digest


def test_liquidity_is_the_providers_up_to_what_they_brought(play: Play) -> None:
    play.deposit(50 * ETHER)
    for function, values, value in [
        ("addLiquidity", (), 1),
        ("removeLiquidity", (play.actors[USER], 1), 0),
    ]:
        with refused("Unauthorized", play.actors[USER]):
            play.do(USER, function, *values, value=value)
    with refused("InvalidAmount"):
        play.do(PROVIDER, "addLiquidity")
    with refused("InvalidAmount"):
        play.do(PROVIDER, "removeLiquidity", play.actors[USER], 0)
    with refused("NotEnoughLiquidity", 1_001 * ETHER, 1_000 * ETHER):
        play.do(PROVIDER, "removeLiquidity", play.actors[USER], 1_001 * ETHER)
    with refused("WindowFull", LIMIT + 1, LIMIT):
        play.do(PROVIDER, "removeLiquidity", play.actors[USER], LIMIT + 1)
    before = play.balance(USER)
    play.do(PROVIDER, "removeLiquidity", play.actors[USER], LIMIT)
    assert play.balance(USER) - before == LIMIT
    (event,) = play.release(play.inbound(1))
    assert event.name == "Queued"


def test_pause_stops_what_pays_and_the_owner_alone_ends_it_later(play: Play) -> None:
    message, deposit = play.inbound(ETHER), play.deposit()
    late = play.inbound(ETHER, late=-2 * HOUR)
    unpause = play.vault.data("unpause")
    with refused("Unauthorized", play.actors[USER]):
        play.do(USER, "pause")
    with refused("InvalidParameter"):
        play.do(OWNER, "schedule", unpause)
    (event,) = play.do(GUARDIAN, "pause")
    assert event.name == "PausedBy"
    assert play.do(OWNER, "pause") == []
    for deed in (
        play.deposit,
        lambda: play.release(message),
        lambda: play.refund(deposit),
        lambda: play.do(USER, "claim", play.actors[USER]),
        lambda: play.do(PROVIDER, "removeLiquidity", play.actors[USER], 1),
        lambda: play.do(OWNER, "claimFees", play.actors[USER], 1),
    ):
        with refused("Paused"):
            deed()
    play.do(PROVIDER, "addLiquidity", value=1)
    play.do(USER, "cancel", tuple(late.values()))
    for longer in (unpause + b"\0", unpause[:3]):
        with refused("InvalidParameter"):
            play.do(OWNER, "schedule", longer)
    (event,) = play.execute("unpause")
    assert event.name == "Unpaused"
    play.release(message)


def test_unpause_scheduled_before_cannot_end_a_later_pause(play: Play) -> None:
    play.do(GUARDIAN, "pause")
    play.execute("unpause")
    play.do(GUARDIAN, "pause")
    with refused("NotScheduled"):
        play.do(OWNER, "execute", play.vault.data("unpause"))


def test_scheduled_call_waits_lapses_and_is_executed_once(play: Play) -> None:
    data, delay = play.vault.data("setLimit", 7 * ETHER), play.bench.start.delay
    with refused("Unauthorized", play.actors[GUARDIAN]):
        play.do(GUARDIAN, "schedule", data)
    (event,) = play.do(OWNER, "schedule", data)
    allowed, action = event.args["executableAt"], event.args["action"]
    assert allowed == play.bench.now() + delay == play.vault.call("executableAt", action)
    with refused("InvalidParameter"):
        play.do(OWNER, "schedule", data)
    with refused("TooEarly", allowed, allowed - 1):
        play.do(OWNER, "execute", data, later=delay - 2)
    with refused("Unauthorized", play.actors[USER]):
        play.do(USER, "execute", data)
    with play.bench.chain.undone(), refused("Expired"):
        play.do(OWNER, "execute", data, later=15 * DAY)
    play.do(OWNER, "execute", data)
    assert play.vault.call("window")[1] == 7 * ETHER
    with refused("NotScheduled", action):
        play.do(OWNER, "execute", data)
    play.do(OWNER, "schedule", data)
    with refused("Unauthorized"):
        play.do(USER, "unschedule", action)
    play.do(OWNER, "unschedule", action)
    with refused("NotScheduled", action):
        play.do(OWNER, "unschedule", action)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        ("unpause", ()),
        ("setSigners", ((b"\1" * 20,), 1)),
        ("setLimit", (1,)),
        ("setMinimum", (1,)),
        ("setFee", (1,)),
        ("setGuardian", (b"\1" * 20, True)),
        ("setLiquidityProvider", (b"\1" * 20, True)),
    ],
)
def test_setters_are_called_by_the_vault_itself_only(
    play: Play, function: str, values: tuple[Any, ...]
) -> None:
    with refused("Unauthorized", play.actors[OWNER]):
        play.do(OWNER, function, *values)


@pytest.mark.parametrize("function", ["pause", "claimFees", "setPeer", "execute", "release"])
def test_nothing_but_setters_can_be_scheduled(play: Play, function: str) -> None:
    selector = next(key for key, name in play.vault.selectors.items() if name == function)
    with refused("InvalidParameter"):
        play.do(OWNER, "schedule", selector + bytes(64))


def test_removed_signers_signature_is_worth_nothing_at_once(play: Play) -> None:
    message = play.inbound(ETHER, late=10 * DAY)
    old = release_data(message, play.signed("release", message))
    kept = (attestors()[0].address, attestors()[1].address)
    (event,) = play.execute("setSigners", kept, 2)
    assert (event.args["epoch"], event.args["threshold"]) == (2, 2)
    with refused("UnknownSigner"):
        play.call(Step(USER, old))
    over = ("release", play.chain_id, play.vault.address, message_id(message))
    wanted = digest((*over, event.args["signerSet"]), message)
    removed = attestors()[2]
    by_removed = [key.sign(wanted) for key in (attestors()[0], removed)]
    with refused("UnknownSigner", removed.address):
        play.call(Step(USER, release_data(message, by_removed)))
    play.call(Step(USER, release_data(message, [key.sign(wanted) for key in attestors()[:2]])))


def test_owner_changes_in_two_steps(play: Play) -> None:
    with refused("Unauthorized"):
        play.do(USER, "proposeOwner", play.actors[USER])
    play.do(OWNER, "proposeOwner", play.actors[USER])
    with refused("Unauthorized"):
        play.do(OTHER, "acceptOwner")
    (event,) = play.do(USER, "acceptOwner")
    assert event.args["previous"] == play.actors[OWNER]
    with refused("Unauthorized", play.actors[OWNER]):
        play.do(OWNER, "schedule", b"")
    assert (play.vault.call("owner"), play.vault.call("pendingOwner")) == (
        play.actors[USER],
        bytes(20),
    )


def test_every_function_was_thought_about(one: Play) -> None:
    moving = {
        entry["name"]
        for entry in one.vault.artifact["abi"]
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert moving == {
        *("deposit", "release", "cancel", "cancelQueued", "refund", "claim"),
        *("addLiquidity", "removeLiquidity", "claimFees", "pause", "setPeer"),
        *("schedule", "unschedule", "execute", "proposeOwner", "acceptOwner"),
        *("unpause", "setSigners", "setLimit", "setMinimum", "setFee", "setGuardian"),
        "setLiquidityProvider",
    }
