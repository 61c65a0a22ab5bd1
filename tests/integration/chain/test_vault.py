"""The bridge's vault on a real node: each way through it, its limits, and what it costs."""

from collections.abc import Callable
from typing import Any

import pytest

from chain import abi
from tests.model.vault import CANCELLED, FIELDS, HOUR, QUEUED, RELEASED, message_id
from tests.support.evm import ETHER, Chain, Reverted
from tests.support.vault_beginnings import RIGHT, WRONG, refusal, start
from tests.support.vault_bench import (
    GUARDIAN,
    LIMIT,
    MINIMUM,
    OWNER,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    release_data,
)
from tests.support.vault_play import DAY, OTHER, USER, Play, refused
from tests.support.vault_signing import digest

REFUSES, SHOUTS = 1, 2


# ------------------------------------------------------------------------------ beginnings


@pytest.mark.parametrize("name", WRONG)
def test_vault_wrong_beginning_is_refused(chain: Chain, name: str) -> None:
    changes, error = WRONG[name]
    assert refusal(chain, abi.load("BridgeVault"), start(**changes)) == error


@pytest.mark.parametrize("name", RIGHT)
def test_vault_beginning_at_the_bounds_is_accepted(chain: Chain, name: str) -> None:
    assert refusal(chain, abi.load("BridgeVault"), start(**RIGHT[name])) == ""


def test_vault_says_what_it_was_made_with(one: Play) -> None:
    vault, begun = one.vault, one.bench.start
    signers, threshold, epoch, signer_set = vault.call("signers")
    assert [bytes.fromhex(each[2:]) for each in signers] == list(begun.signers)
    assert (threshold, epoch, signer_set) == (2, 1, one.bench.model().signer_set)
    assert vault.call("window") == (LIMIT, LIMIT)
    assert vault.call("minimum") == MINIMUM
    assert vault.call("peer") == (PEER_CHAIN, PEER_VAULT)
    assert (vault.call("delay"), vault.call("transferTtl")) == (begun.delay, begun.ttl)
    assert (vault.call("owner"), vault.call("feeBps")) == (begun.owner, begun.fee_bps)
    assert vault.call("isGuardian", one.actors[GUARDIAN])
    assert vault.call("isLiquidityProvider", one.actors[PROVIDER])
    logs = one.bench.chain.rpc(
        "eth_getLogs",
        {"address": "0x" + vault.address.hex(), "fromBlock": hex(vault.call("firstBlock"))},
    )
    names = [event.name for event in vault.events({"logs": logs})]
    assert names[:5] == [
        *("OwnerChanged", "SignersChanged", "LimitChanged", "MinimumChanged", "FeeChanged"),
    ]
    sequence = [event.args["eventSeq"] for event in vault.events({"logs": logs})]
    assert sequence == list(range(1, vault.call("eventSeq") + 1))


def test_vault_peer_is_set_once_by_the_owner(chain: Chain, driver: dict[str, Any]) -> None:
    with chain.undone():
        play = Play(chain, driver, peer=None)
        with refused("NoPeer"):
            play.deposit()
        with refused("NoPeer"):
            play.release(play.inbound(ETHER))
        with refused("NoPeer"):
            play.do(USER, "cancel", tuple(play.inbound(ETHER, late=-2 * HOUR).values()))
        with refused("Unauthorized", play.actors[USER]):
            play.do(USER, "setPeer", PEER_CHAIN, PEER_VAULT)
        for chain_id, vault in [
            (0, PEER_VAULT),
            (play.chain_id, PEER_VAULT),
            (PEER_CHAIN, bytes(20)),
            (2**64, PEER_VAULT),
        ]:
            with refused("InvalidParameter"):
                play.do(OWNER, "setPeer", chain_id, vault)
        # The same address is right: CREATE2 gives it on both chains.
        (event,) = play.do(OWNER, "setPeer", PEER_CHAIN, play.vault.address)
        assert event.name == "PeerSet"
        with refused("PeerIsSet"):
            play.do(OWNER, "setPeer", PEER_CHAIN, PEER_VAULT)


# ------------------------------------------------------------------------------- transfers


def test_deposit_locks_the_amount_and_says_the_whole_message(play: Play) -> None:
    before = play.vault.call("totals")
    message = play.deposit(3 * ETHER)
    id_ = message_id(message)
    assert message == dict(
        zip(
            FIELDS,
            (
                *(play.chain_id, PEER_CHAIN, play.vault.address, PEER_VAULT, 1),
                *(play.actors[USER], play.actors[OTHER], 3 * ETHER, 3 * ETHER * 25 // 10_000),
                play.bench.now() + DAY,
            ),
            strict=True,
        )
    )
    assert play.vault.call("messageId", tuple(message.values())) == id_
    assert play.vault.call("depositOf", id_) == (
        play.actors[USER],
        3 * ETHER,
        False,
    )
    assert play.vault.call("totals")["deposited"] == before["deposited"] + 3 * ETHER
    assert play.deposit()["nonce"] == 2


@pytest.mark.parametrize(
    ("changes", "value", "error"),
    [
        ({"chain": 1}, ETHER, "WrongChain"),
        ({"to": bytes(20)}, ETHER, "InvalidRecipient"),
        ({"to": PEER_VAULT}, ETHER, "InvalidRecipient"),
        ({}, 0, "BelowMinimum"),
        ({}, MINIMUM - 1, "BelowMinimum"),
        ({}, LIMIT + 1, "AboveLimit"),
    ],
)
def test_deposit_that_cannot_be_is_refused(
    play: Play, changes: dict[str, Any], value: int, error: str
) -> None:
    values = {"to": play.actors[OTHER], "chain": PEER_CHAIN} | changes
    with refused(error):
        play.do(USER, "deposit", values["to"], values["chain"], bytes(32), value=value)


def test_deposit_from_before_a_higher_minimum_is_paid_and_given_back(play: Play) -> None:
    assert play.deposit(MINIMUM)["amount"] == MINIMUM
    before, small = play.deposit(MINIMUM), play.inbound(MINIMUM)
    (event,) = play.execute("setMinimum", ETHER)
    assert (event.name, event.args["minimum"]) == ("MinimumChanged", ETHER)
    with refused("BelowMinimum", ETHER - 1, ETHER):
        play.deposit(ETHER - 1)
    play.deposit(ETHER)
    (event,) = play.release(small)
    assert (event.name, event.args["paid"]) == ("Released", True)
    (event,) = play.refund(before)
    assert (event.name, event.args["amount"]) == ("Refunded", MINIMUM)


def test_minimum_is_never_zero_nor_above_the_limit(play: Play) -> None:
    for function, value in [
        *(("setMinimum", value) for value in (0, LIMIT + 1)),
        *(("setLimit", value) for value in (0, MINIMUM - 1)),
    ]:
        with refused("InvalidParameter"):
            play.execute(function, value)
    play.execute("setMinimum", LIMIT)
    assert play.deposit(LIMIT)["amount"] == LIMIT
    with refused("InvalidParameter"):
        play.execute("setLimit", LIMIT - 1)
    play.execute("setMinimum", 1)
    play.execute("setLimit", 1)
    assert play.deposit(1)["amount"] == 1


def test_digests_are_those_of_the_standard(play: Play) -> None:
    message, deposited = play.inbound(ETHER, fee=7), play.deposit()
    signer_set = play.bench.signer_set
    for kind, view, argument, of in [
        ("release", "releaseDigest", tuple(message.values()), message),
        ("refund", "refundDigest", message_id(deposited), deposited),
    ]:
        over = (kind, play.chain_id, play.vault.address, message_id(of), signer_set)
        assert play.vault.call(view, argument) == digest(over, of)
    with refused("UnknownDeposit", bytes(32)):
        play.vault.call("refundDigest", bytes(32))


def test_release_pays_once_and_keeps_the_fee(play: Play) -> None:
    message = play.inbound(10 * ETHER, fee=ETHER // 20)
    before, left = play.balance(OTHER), play.vault.call("window")[0]
    (event,) = play.release(message)
    assert (event.name, event.args["paid"], event.args["fee"]) == ("Released", True, ETHER // 20)
    assert play.balance(OTHER) - before == 10 * ETHER - ETHER // 20
    assert play.vault.call("window")[0] == left - 10 * ETHER
    assert play.vault.call("totals")["fees"] == ETHER // 20
    assert play.fate(message) == RELEASED
    with refused("WrongFate", message_id(message), RELEASED):
        play.release(message)
    with refused("WrongFate"):
        play.do(USER, "cancel", tuple(message.values()), later=2 * DAY)
    with refused("NotEnoughLiquidity", ETHER, ETHER // 20):
        play.do(OWNER, "claimFees", play.actors[USER], ETHER)
    (paid,) = play.do(OWNER, "claimFees", play.actors[USER], ETHER // 20)
    assert paid.args["amount"] == ETHER // 20


def test_release_over_the_window_is_queued_and_paid_later_without_deadline(play: Play) -> None:
    first, second = play.inbound(LIMIT), play.inbound(1, late=HOUR)
    play.release(first)
    (event,) = play.release(second)
    assert (event.name, play.fate(second)) == ("Queued", QUEUED)
    with refused("WindowFull", 1, 0):
        play.release(second)
    # An hour after its deadline: what is queued is not cancelled by anybody.
    with refused("WrongFate"):
        play.do(USER, "cancel", tuple(second.values()), later=3 * HOUR)
    (event,) = play.release(second, later=DAY)
    assert (event.name, play.fate(second)) == ("Released", RELEASED)


def test_queued_message_is_cancelled_by_the_guardian_alone(play: Play) -> None:
    play.release(play.inbound(LIMIT))
    queued, unseen = play.inbound(ETHER), play.inbound(ETHER)
    play.release(queued)
    with refused("Unauthorized", play.actors[OWNER]):
        play.do(OWNER, "cancelQueued", tuple(queued.values()))
    with refused("WrongFate", message_id(unseen), 0):
        play.do(GUARDIAN, "cancelQueued", tuple(unseen.values()))
    (event,) = play.do(GUARDIAN, "cancelQueued", tuple(queued.values()))
    assert (event.name, event.args["message"]) == ("Cancelled", queued)
    with refused("WrongFate", message_id(queued), CANCELLED):
        play.release(queued, later=2 * DAY)


def test_release_and_cancel_leave_an_hour_between_them(play: Play) -> None:
    first, second = play.inbound(ETHER), play.inbound(ETHER)
    deadline = first["deadline"]
    data = tuple(second.values())
    play.release(first, later=deadline - play.bench.now())
    with refused("Expired", deadline, deadline + 1):
        play.release(second)
    with refused("TooEarly", deadline + HOUR, deadline + HOUR - 1):
        play.do(USER, "cancel", data, later=HOUR - 2)
    play.do(USER, "cancel", data)
    with refused("WrongFate"):
        play.do(USER, "cancel", data)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"targetChain": PEER_CHAIN}, "WrongChain"),
        ({"sourceChain": 1}, "WrongMessage"),
        ({"sourceVault": b"\1" * 20}, "WrongMessage"),
        ({"targetVault": b"\1" * 20}, "WrongMessage"),
        ({"recipient": bytes(20)}, "InvalidRecipient"),
        ({"recipient": PEER_VAULT}, "InvalidRecipient"),
        ({"amount": 0, "fee": 0}, "InvalidAmount"),
        ({"amount": 2**88, "fee": 0}, "InvalidAmount"),
        ({"fee": ETHER // 100 + 1}, "InvalidAmount"),
        ({"fee": ETHER}, "InvalidAmount"),
        ({"amount": LIMIT + 1}, "AboveLimit"),
    ],
)
def test_release_that_cannot_be_is_refused_though_signed(
    play: Play, changes: dict[str, Any], error: str
) -> None:
    with refused(error):
        play.release(play.inbound(ETHER) | changes)


def test_release_without_liquidity_is_refused_then_cancelled(
    chain: Chain, driver: dict[str, Any]
) -> None:
    with chain.undone():
        play = Play(chain, driver, limit=5_000 * ETHER)
        message = play.inbound(1_000 * ETHER + 1)
        with refused("NotEnoughLiquidity", 1_000 * ETHER + 1, 1_000 * ETHER):
            play.release(message)
        play.do(USER, "cancel", tuple(message.values()), later=DAY + HOUR)
        assert play.fate(message) == CANCELLED


def test_refund_gives_the_whole_amount_back_once(play: Play) -> None:
    message, before = play.deposit(2 * ETHER), play.balance(USER)
    left = play.vault.call("window")[0]
    (event,) = play.refund(message)
    assert (event.name, event.args["amount"]) == ("Refunded", 2 * ETHER)
    assert play.balance(USER) - before == 2 * ETHER
    assert play.vault.call("window")[0] == left - 2 * ETHER
    assert play.vault.call("depositOf", message_id(message))[2]
    with refused("AlreadyRefunded", message_id(message)):
        play.refund(message)
    with refused("UnknownDeposit", b"\1" * 32):
        play.do(USER, "refund", b"\1" * 32, [])


def test_refund_over_the_window_is_sent_again_later(play: Play) -> None:
    message = play.deposit(2 * ETHER)
    play.release(play.inbound(LIMIT - ETHER))
    with refused("WindowFull", 2 * ETHER, ETHER):
        play.refund(message)
    play.refund(message, later=DAY + HOUR)


# ---------------------------------------------------------------------------------- paying


@pytest.mark.parametrize("mood", [REFUSES, SHOUTS, 150_000])
def test_receiver_that_does_not_take_it_claims_it_later(play: Play, mood: int) -> None:
    play.call(play.bench.feel(OTHER, mood))
    (event,) = play.release(play.inbound(ETHER, fee=1))
    waiting = ETHER - 1
    assert not event.args["paid"]
    assert play.vault.call("unclaimedOf", play.actors[OTHER]) == waiting
    assert play.vault.call("totals")["unclaimed"] == waiting
    play.call(play.bench.feel(USER, mood))
    play.call(play.bench.feel(USER, 0))
    with refused("NothingToClaim", play.actors[USER]):
        play.do(USER, "claim", play.actors[USER])
    with refused("InvalidRecipient"):
        play.do(OTHER, "claim", bytes(20))
    with refused("TransferFailed"):
        play.do(OTHER, "claim", play.vault.address)
    before = play.balance(USER)
    play.do(OTHER, "claim", play.actors[USER])
    assert play.balance(USER) - before == waiting
    with refused("NothingToClaim"):
        play.do(OTHER, "claim", play.actors[USER])


def test_depositor_that_refuses_its_refund_claims_it_later(play: Play) -> None:
    message = play.deposit(ETHER)
    play.call(play.bench.feel(USER, REFUSES))
    (event,) = play.refund(message)
    assert not event.args["paid"]
    before = play.balance(OTHER)
    play.do(USER, "claim", play.actors[OTHER])
    assert play.balance(OTHER) - before == ETHER


def test_caller_cannot_starve_the_receiver_into_a_claim(play: Play) -> None:
    # It wants nearly all that a receiver gets; whatever gas is sent, it is paid or nothing is.
    play.call(play.bench.feel(OTHER, 90_000))
    message = play.inbound(ETHER)
    data = release_data(message, play.signed("release", message))
    chain, paid = play.bench.chain, []
    for gas in range(150_000, 400_000, 10_000):
        with chain.undone():
            receipt = chain.send(play.vault.address, data, sender=play.bench.sender, gas=gas)
            paid += [event.args["paid"] for event in play.vault.events(receipt)]
    assert 0 < len(paid) < 25, "both outcomes"
    assert all(paid)


def test_ether_by_force_changes_nothing_and_plain_transfers_are_refused(play: Play) -> None:
    chain, vault = play.bench.chain, play.vault
    before = vault.call("totals"), vault.call("window")
    balance = chain.balance(vault.address)
    chain.rpc("anvil_setBalance", "0x" + vault.address.hex(), hex(balance + 10**9 * ETHER))
    assert (vault.call("totals"), vault.call("window")) == before
    with refused("NotEnoughLiquidity"):
        play.do(PROVIDER, "removeLiquidity", play.actors[USER], 1_001 * ETHER)
    for data in (b"", b"\1\2\3\4"):
        with pytest.raises(Reverted):
            chain.call(vault.address, data, sender=play.bench.sender, value=1)


# ------------------------------------------------------------------------------------ costs


def test_costs_of_a_transfer(one: Play, record_property: Callable[[str, object], None]) -> None:
    """Of a vault in use; bounds are a fifth above what was measured."""
    chain, vault, sender = one.bench.chain, one.vault, one.bench.sender
    with chain.undone():
        one.deposit()
        one.release(one.inbound(ETHER, fee=1))
        one.refund(one.deposit())
        receiver = chain.account("a receiver that is there")
        values = (receiver, PEER_CHAIN, bytes(32))
        message = one.inbound(ETHER, fee=10**15) | {"recipient": receiver}
        gas = {
            "deposit": vault.transact("deposit", *values, sender=sender, value=ETHER),
            "release": chain.send(
                vault.address,
                release_data(message, one.signed("release", message)),
                sender=sender,
            ),
        }
        refunded = one.deposit()
        data = vault.data("refund", message_id(refunded), one.signed("refund", refunded))
        gas["refund"] = chain.send(vault.address, data, sender=sender)
        assert all(receipt["status"] == "0x1" for receipt in gas.values())
        used = {name: int(receipt["gasUsed"], 16) for name, receipt in gas.items()}
    print(f"\ngas {used}")
    for name, figure in used.items():
        record_property(f"gas_{name}", figure)
    assert used["deposit"] < 110_000 and used["release"] < 150_000 and used["refund"] < 120_000
