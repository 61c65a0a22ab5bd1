"""The bridge's vault on a real node: each way through it, its limits, and what it costs."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak

from chain import abi
from tests.model.vault import CANCELLED, FIELDS, HOUR, QUEUED, RELEASED, Message, message_id
from tests.support.evm import ETHER, Chain, Contract, Event, Reverted
from tests.support.vault_beginnings import RIGHT, WRONG, refusal, start
from tests.support.vault_bench import (
    FIRST_USER,
    GUARDIAN,
    LIMIT,
    OWNER,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    Bench,
    Step,
    build,
    release_data,
)
from tests.support.vault_signing import attestors, digest

DAY = 24 * HOUR
USER, OTHER = FIRST_USER, FIRST_USER + 1
REFUSES, SHOUTS = 1, 2
GUARDED = keccak(b"ReentrancyGuardReentrantCall()")[:4]


class Play:
    """A vault with liquidity, and its calls by name."""

    def __init__(self, chain: Chain, driver: dict[str, Any], **changes: Any) -> None:
        self.bench = build(chain, driver, **changes)
        self.vault, self.actors = self.bench.vault, self.bench.actors
        self.chain_id = int(chain.rpc("eth_chainId"), 16)
        self.nonce = 0
        if changes.get("peer", True) is not None:
            self.do(PROVIDER, "addLiquidity", value=1_000 * ETHER)

    def do(
        self, actor: int, function: str, *values: Any, value: int = 0, later: int = 1
    ) -> list[Event]:
        """Its events. Raises Reverted."""
        return self.call(Step(actor, self.vault.data(function, *values), value), later=later)

    def call(self, step: Step, *, later: int = 1) -> list[Event]:
        (outcome,) = self.bench.run([step], at=self.bench.now() + later)
        if outcome.error is not None:
            raise outcome.error
        return self.bench.events(outcome)

    def inbound(self, amount: int, *, fee: int = 0, to: int = OTHER, late: int = DAY) -> Message:
        self.nonce += 1
        ends = (PEER_CHAIN, self.chain_id, PEER_VAULT, self.vault.address, self.nonce)
        rest = (self.actors[USER], self.actors[to], amount, fee, self.bench.now() + late)
        return dict(zip(FIELDS, (*ends, *rest), strict=True))

    def signed(self, kind: str, message: Message) -> list[bytes]:
        over = (kind, self.chain_id, self.vault.address, message_id(message))
        wanted = digest((*over, self.bench.signer_set), message)
        return [key.sign(wanted) for key in attestors()[:2]]

    def release(self, message: Message, *, later: int = 1) -> list[Event]:
        data = release_data(message, self.signed("release", message))
        return self.call(Step(OTHER, data), later=later)

    def deposit(self, amount: int = ETHER) -> Message:
        (event,) = self.do(
            USER, "deposit", self.actors[OTHER], PEER_CHAIN, b"r" * 32, value=amount
        )
        made: Message = event.args["message"]
        return made

    def refund(self, message: Message, *, later: int = 1) -> list[Event]:
        signatures = self.signed("refund", message)
        return self.do(OTHER, "refund", message_id(message), signatures, later=later)

    def execute(self, function: str, *values: Any) -> list[Event]:
        data = self.vault.data(function, *values)
        self.do(OWNER, "schedule", data)
        return self.do(OWNER, "execute", data, later=self.bench.start.delay)

    def fate(self, message: Message) -> int:
        return int(self.vault.call("fateOf", message_id(message)))

    def balance(self, actor: int) -> int:
        return self.bench.chain.balance(self.actors[actor])


@pytest.fixture(scope="module")
def driver(harness: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return harness["VaultDriver"]


@pytest.fixture(scope="module")
def one(chain: Chain, driver: dict[str, Any]) -> Play:
    return Play(chain, driver)


@pytest.fixture
def play(one: Play) -> Any:
    """The module's vault, taken back afterwards."""
    nonce = one.nonce
    with one.bench.chain.undone():
        yield one
    one.nonce = nonce


def refused(error: str, *arguments: Any) -> Any:
    """Expects this error; with arguments these too."""
    return pytest.raises(Reverted, check=lambda e: _is(e, error, arguments))


def _is(raised: Reverted, error: str, arguments: tuple[Any, ...]) -> bool:
    return raised.name == error and arguments in ((), raised.arguments)


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
    assert names[:4] == ["OwnerChanged", "SignersChanged", "LimitChanged", "FeeChanged"]
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
        ({}, 0, "InvalidAmount"),
        ({}, LIMIT + 1, "AboveLimit"),
    ],
)
def test_deposit_that_cannot_be_is_refused(
    play: Play, changes: dict[str, Any], value: int, error: str
) -> None:
    values = {"to": play.actors[OTHER], "chain": PEER_CHAIN} | changes
    with refused(error):
        play.do(USER, "deposit", values["to"], values["chain"], bytes(32), value=value)


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
    for gas in range(60_000, 480_000, 6_000):
        with chain.undone():
            receipt = chain.send(play.vault.address, data, sender=play.bench.sender, gas=gas)
            paid += [event.args["paid"] for event in play.vault.events(receipt)]
    assert 20 < len(paid) < 70
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


# ----------------------------------------------------------------------------------- roles


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
        *("unpause", "setSigners", "setLimit", "setFee", "setGuardian", "setLiquidityProvider"),
    }


# --------------------------------------------------------------------------------- entering


class Entering:
    """One contract that has every role, is every receiver, and calls back when it is paid."""

    def __init__(self, chain: Chain, harness: dict[str, dict[str, Any]]) -> None:
        self.chain = chain
        self.sender = chain.account("enters")
        made = chain.create(harness["Relay"], b"", sender=self.sender)
        self.relay = Contract(chain, harness["Relay"], made)
        roles = {"owner": made, "guardians": (made,), "providers": (made,)}
        self.bench: Bench = build(chain, harness["VaultDriver"], peer=None, **roles)
        self.vault = self.bench.vault
        self.chain_id = int(chain.rpc("eth_chainId"), 16)
        self.relay.send("aim", self.vault.address, sender=self.sender)
        self.send("setPeer", PEER_CHAIN, PEER_VAULT)
        self.send("addLiquidity", value=50 * ETHER)
        values = (self.bench.actors[USER], PEER_CHAIN, bytes(32))
        events = self.send("deposit", *values, value=ETHER)
        self.deposited: Message = events[0].args["message"]
        self.first, self.second = (self._inbound(nonce) for nonce in (1, 2))

    def send(self, function: str, *values: Any, value: int = 0) -> list[Event]:
        return self.raw(self.vault.data(function, *values), value=value)

    def raw(self, data: bytes, *, value: int = 0) -> list[Event]:
        receipt = self.relay.transact("execute", data, sender=self.sender, value=value)
        return self.vault.events(receipt)

    def outer(self) -> dict[str, bytes]:
        """Calls that pay the contract."""
        return {
            "release": self._release(self.first),
            "refund": self._refund(),
            "removeLiquidity": self.vault.data("removeLiquidity", self.relay.address, ETHER),
            "claimFees": self.vault.data("claimFees", self.relay.address, 1),
            "claim": self.vault.data("claim", self.relay.address),
        }

    def inner(self) -> dict[str, bytes]:
        """Calls that it tries meanwhile."""
        message = tuple(self.second.values())
        return self.outer() | {
            "release": self._release(self.second),
            "release again": self._release(self.first),
            "deposit": self.vault.data("deposit", self.bench.actors[USER], PEER_CHAIN, bytes(32)),
            "addLiquidity": self.vault.data("addLiquidity"),
            "cancel": self.vault.data("cancel", message),
            "cancelQueued": self.vault.data("cancelQueued", message),
        }

    def prepare(self) -> None:
        """Fees and a claim that wait."""
        self.raw(self._release(self._inbound(3)))
        self.relay.send("refuse", True, sender=self.sender)
        self.raw(self._release(self._inbound(4)))
        self.relay.send("refuse", False, sender=self.sender)

    def _inbound(self, nonce: int) -> Message:
        ends = (PEER_CHAIN, self.chain_id, PEER_VAULT, self.vault.address, nonce)
        rest = (self.relay.address, self.relay.address, ETHER, ETHER // 200)
        return dict(zip(FIELDS, (*ends, *rest, self.bench.now() + DAY), strict=True))

    def _release(self, message: Message) -> bytes:
        wanted = self.vault.call("releaseDigest", tuple(message.values()))
        return release_data(message, [key.sign(wanted) for key in attestors()[:2]])

    def _refund(self) -> bytes:
        id_ = message_id(self.deposited)
        wanted = self.vault.call("refundDigest", id_)
        return self.vault.data("refund", id_, [key.sign(wanted) for key in attestors()[:2]])


@pytest.fixture(scope="module")
def entering(chain: Chain, harness: dict[str, dict[str, Any]]) -> Entering:
    made = Entering(chain, harness)
    made.prepare()
    return made


@pytest.mark.parametrize("outer", ["release", "refund", "removeLiquidity", "claimFees", "claim"])
def test_receiver_that_enters_again_is_refused(entering: Entering, outer: str) -> None:
    for name, data in entering.inner().items():
        with entering.chain.undone():
            entering.relay.send("arm", data, sender=entering.sender)
            events = entering.raw(entering.outer()[outer])
            assert len(events) == 1, name
            assert events[0].args.get("paid", True), name
            assert entering.relay.call("tried")[:3] == (1, False, GUARDED), name


# ------------------------------------------------------------------------------------ costs


def test_costs_of_a_transfer(
    one: Play, record_property: Callable[[str, object], None]
) -> None:
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
