"""The bridge's vault as one object that does what it is told, written from the issue's words.

Every deed either raises `Refused` and changes nothing, or appends its logs in the order in which
the contract emits them. The window is the list of all that left in the last 25 clock hours, summed
afresh each time. A signature is who signed what, so nothing is recovered here. Amounts are wei,
times unix seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_hash.auto import keccak

NONE, QUEUED, RELEASED, CANCELLED = range(4)
HOUR = 3_600
LAPSE = 14 * 24 * HOUR
AMOUNT_MAX = 2**88 - 1
FIELDS = (
    *("sourceChain", "targetChain", "sourceVault", "targetVault", "nonce"),
    *("depositor", "recipient", "amount", "fee", "deadline"),
)
ZERO = bytes(20)
SETTERS = (
    *("setSigners", "setLimit", "setMinimum", "setFee", "setGuardian", "setLiquidityProvider"),
    "unpause",
)

Message = dict[str, Any]
Log = tuple[str, dict[str, Any]]
Call = tuple[str, tuple[Any, ...]]


class Refused(Exception):
    """`arguments` None: any will do."""

    def __init__(self, name: str, *arguments: Any, known: bool = True) -> None:
        super().__init__(name, arguments)
        self.name = name
        self.arguments = arguments if known else None


@dataclass(frozen=True)
class Signature:
    """`over` is what was signed; `sound` False: no key can be recovered from it."""

    signer: bytes
    over: tuple[Any, ...]
    sound: bool = True


@dataclass(frozen=True)
class Start:
    """What a vault is made with."""

    owner: bytes
    signers: tuple[bytes, ...]
    threshold: int
    guardians: tuple[bytes, ...]
    providers: tuple[bytes, ...]
    limit: int
    minimum: int
    fee_bps: int
    delay: int
    ttl: int


@dataclass
class Given:
    """A deposit of this chain."""

    depositor: bytes
    amount: int
    refunded: bool = False


def words(*values: int | bytes) -> bytes:
    """32 bytes each, as the ABI has integers, addresses and hashes."""
    return b"".join(
        value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32, "big")
        for value in values
    )


def message_id(message: Message) -> bytes:
    """keccak256 of the ABI's words."""
    return keccak(words(*(message[name] for name in FIELDS)))


@dataclass
class Vault:
    """`now` is the block's time. `refusing` take no ETH, `greedy` want more gas for it than a
    receiver gets who did not ask."""

    chain: int
    address: bytes
    start: Start
    now: int = 0
    refusing: set[bytes] = field(default_factory=set)
    greedy: set[bytes] = field(default_factory=set)
    logs: list[Log] = field(default_factory=list)

    def __post_init__(self) -> None:
        start = self.start
        self.owner, self.pending = start.owner, ZERO
        self.peer: tuple[int, bytes] = (0, ZERO)
        self.limit, self.fee_bps, self.paused = start.limit, start.fee_bps, False
        self.minimum = start.minimum
        self.guardians, self.providers = set(start.guardians), set(start.providers)
        self.epoch, self.signers, self.threshold = 1, start.signers, start.threshold
        self.scheduled: dict[bytes, tuple[int, Call]] = {}
        self.spent: list[tuple[int, int]] = []
        self.fates: dict[bytes, int] = {}
        self.deposits: dict[bytes, Given] = {}
        self.unclaimed: dict[bytes, int] = {}
        self.added = self.removed = self.deposited = self.released = self.refunded = 0
        self.earned = self.fees_claimed = self.paid_out = self.claimed = 0
        # The constructor's: owner, signers, limit, minimum, fee, and each role.
        self.seq = 5 + len(start.guardians) + len(start.providers)

    # --------------------------------------------------------------------------- state

    @property
    def signer_set(self) -> bytes:
        # The list is behind its offset and its length, as the ABI has it.
        head = (self.epoch, self.threshold, 96, len(self.signers))
        return keccak(words(*head, *self.signers))

    @property
    def left(self) -> int:
        hour = self.now // HOUR
        self.spent = [(at, amount) for at, amount in self.spent if at // HOUR > hour - 25]
        return max(0, self.limit - sum(amount for _, amount in self.spent))

    @property
    def pool(self) -> int:
        return self.added - self.removed + self.deposited - self.released - self.refunded

    @property
    def balance(self) -> int:
        """What came in by calls and did not go out."""
        came = self.added + self.deposited
        return came - self.removed - self.paid_out - self.claimed - self.fees_claimed

    def totals(self) -> tuple[int, ...]:
        """As the contract's `totals`, in its order."""
        waiting = sum(self.unclaimed.values())
        moved = (self.added - self.removed, self.deposited, self.released, self.refunded)
        return (*moved, waiting, self.earned - self.fees_claimed, self.fees_claimed)

    def taken(self) -> list[Log]:
        """The logs since the last time."""
        made, self.logs = self.logs, []
        return made

    def over_release(self, id_: bytes) -> tuple[Any, ...]:
        return ("release", self.chain, self.address, id_, self.signer_set)

    def over_refund(self, id_: bytes) -> tuple[Any, ...]:
        return ("refund", self.chain, self.address, id_, self.signer_set)

    # ----------------------------------------------------------------------- transfers

    def deposit(
        self, sender: bytes, value: int, recipient: bytes, chain: int, ref: bytes
    ) -> Message:
        self._running()
        self._peered()
        if chain != self.peer[0]:
            raise Refused("WrongChain", chain)
        self._payable(recipient)
        if value < self.minimum:
            raise Refused("BelowMinimum", value, self.minimum)
        if value > self.limit:
            raise Refused("AboveLimit", value, self.limit)
        values = (self.chain, chain, self.address, self.peer[1], len(self.deposits) + 1, sender)
        fee = value * self.fee_bps // 10_000
        rest = (recipient, value, fee, self.now + self.start.ttl)
        message = dict(zip(FIELDS, values + rest, strict=True))
        id_ = message_id(message)
        self.deposits[id_] = Given(sender, value)
        self.deposited += value
        self._log("Deposited", id=id_, ref=ref, depositor=sender, message=message)
        return message

    def release(self, sender: bytes, message: Message, signatures: Sequence[Signature]) -> None:
        self._running()
        id_ = self._mine(message)
        amount, fee, fate = message["amount"], message["fee"], self.fates.get(message_id(message))
        self._payable(message["recipient"])
        if not 0 < amount <= AMOUNT_MAX:
            raise Refused("InvalidAmount", amount)
        if fee > amount * 100 // 10_000:
            raise Refused("InvalidAmount", fee)
        if fate in (RELEASED, CANCELLED):
            raise Refused("WrongFate", id_, fate)
        if fate is None and self.now > message["deadline"]:
            raise Refused("Expired", message["deadline"], self.now)
        self._attested(signatures, self.over_release(id_))
        if amount > self.limit:
            raise Refused("AboveLimit", amount, self.limit)
        self._pooled(amount)
        if amount > self.left:
            if fate == QUEUED:
                raise Refused("WindowFull", amount, self.left)
            self.fates[id_] = QUEUED
            self._log("Queued", id=id_, recipient=message["recipient"], amount=amount)
            return
        self.spent.append((self.now, amount))
        self.fates[id_] = RELEASED
        self.released += amount
        self.earned += fee
        paid = self._pay(message["recipient"], amount - fee)
        told = {"recipient": message["recipient"], "amount": amount, "fee": fee, "paid": paid}
        self._log("Released", id=id_, **told)

    def cancel(self, sender: bytes, message: Message) -> None:
        id_ = self._mine(message)
        if self.fates.get(id_, NONE) != NONE:
            raise Refused("WrongFate", id_, self.fates[id_])
        allowed = min(message["deadline"] + HOUR, 2**256 - 1)
        if self.now < allowed:
            raise Refused("TooEarly", allowed, self.now)
        self._cancel(sender, id_, message)

    def cancel_queued(self, sender: bytes, message: Message) -> None:
        self._only(sender in self.guardians, sender)
        id_ = self._mine(message)
        if self.fates.get(id_, NONE) != QUEUED:
            raise Refused("WrongFate", id_, self.fates.get(id_, NONE))
        self._cancel(sender, id_, message)

    def refund(self, sender: bytes, id_: bytes, signatures: Sequence[Signature]) -> None:
        self._running()
        given = self.deposits.get(id_)
        if given is None:
            raise Refused("UnknownDeposit", id_)
        if given.refunded:
            raise Refused("AlreadyRefunded", id_)
        self._attested(signatures, self.over_refund(id_))
        self._pooled(given.amount)
        self._spend(given.amount)
        given.refunded = True
        self.refunded += given.amount
        paid = self._pay(given.depositor, given.amount)
        told = {"depositor": given.depositor, "amount": given.amount, "paid": paid}
        self._log("Refunded", id=id_, **told)

    def claim(self, sender: bytes, to: bytes) -> None:
        self._running()
        amount = self.unclaimed.get(sender, 0)
        if not amount:
            raise Refused("NothingToClaim", sender)
        self._sendable(to, amount)
        self.unclaimed[sender] = 0
        self.claimed += amount
        self._log("Claimed", account=sender, to=to, amount=amount)

    # --------------------------------------------------------------------------- roles

    def add_liquidity(self, sender: bytes, value: int) -> None:
        self._only(sender in self.providers, sender)
        if not value:
            raise Refused("InvalidAmount", 0)
        self.added += value
        self._log("LiquidityAdded", by=sender, amount=value)

    def remove_liquidity(self, sender: bytes, to: bytes, amount: int) -> None:
        self._only(sender in self.providers, sender)
        self._running()
        if not amount:
            raise Refused("InvalidAmount", 0)
        if amount > self.added - self.removed:
            raise Refused("NotEnoughLiquidity", amount, self.added - self.removed)
        self._pooled(amount)
        self._fits(amount)
        self._sendable(to, amount)
        self._spend(amount)
        self.removed += amount
        self._log("LiquidityRemoved", by=sender, to=to, amount=amount)

    def claim_fees(self, sender: bytes, to: bytes, amount: int) -> None:
        self._only(sender == self.owner, sender)
        self._running()
        if not amount:
            raise Refused("InvalidAmount", 0)
        if amount > self.earned - self.fees_claimed:
            raise Refused("NotEnoughLiquidity", amount, self.earned - self.fees_claimed)
        self._sendable(to, amount)
        self.fees_claimed += amount
        self._log("FeesClaimed", to=to, amount=amount)

    def pause(self, sender: bytes) -> None:
        self._only(sender in self.guardians or sender == self.owner, sender)
        if not self.paused:
            self.paused = True
            self._log("PausedBy", by=sender)

    def set_peer(self, sender: bytes, chain: int, vault: bytes) -> None:
        self._only(sender == self.owner, sender)
        if self.peer[0]:
            raise Refused("PeerIsSet")
        if vault == ZERO or chain in (0, self.chain) or chain >= 2**64:
            raise Refused("InvalidParameter")
        self.peer = (chain, vault)
        self._log("PeerSet", chainId=chain, vault=vault)

    def schedule(self, sender: bytes, data: bytes, call: Call | None) -> None:
        """`call` is what `data` says; None: nothing that may be announced."""
        self._only(sender == self.owner, sender)
        if call is None or (call[0] == "unpause" and not self.paused):
            raise Refused("InvalidParameter")
        action = keccak(data)
        if action in self.scheduled and self.now <= self.scheduled[action][0] + LAPSE:
            raise Refused("InvalidParameter")
        self.scheduled[action] = (self.now + self.start.delay, call)
        told = {"executableAt": self.now + self.start.delay, "data": data}
        self._log("Scheduled", action=action, **told)

    def unschedule(self, sender: bytes, action: bytes) -> None:
        self._only(sender == self.owner, sender)
        if action not in self.scheduled:
            raise Refused("NotScheduled", action)
        del self.scheduled[action]
        self._log("Unscheduled", action=action)

    def execute(self, sender: bytes, data: bytes) -> None:
        self._only(sender == self.owner, sender)
        action = keccak(data)
        if action not in self.scheduled:
            raise Refused("NotScheduled", action)
        allowed, (name, arguments) = self.scheduled[action]
        if self.now < allowed:
            raise Refused("TooEarly", allowed, self.now)
        if self.now > allowed + LAPSE:
            raise Refused("Expired", allowed + LAPSE, self.now)
        setters: dict[str, Callable[..., None]] = {
            "unpause": self._unpause,
            "setSigners": self._set_signers,
            "setLimit": self._set_limit,
            "setMinimum": self._set_minimum,
            "setFee": self._set_fee,
            "setGuardian": self._set_guardian,
            "setLiquidityProvider": self._set_provider,
        }
        setters[name](*arguments)
        del self.scheduled[action]

    def set_directly(self, sender: bytes) -> None:
        """Any of the setters called by somebody."""
        raise Refused("Unauthorized", sender)

    def propose_owner(self, sender: bytes, proposed: bytes) -> None:
        self._only(sender == self.owner, sender)
        self.pending = proposed
        self._log("OwnerProposed", proposed=proposed)

    def accept_owner(self, sender: bytes) -> None:
        self._only(sender == self.pending, sender)
        previous, self.owner, self.pending = self.owner, sender, ZERO
        self._log("OwnerChanged", previous=previous, owner=sender)

    # ------------------------------------------------------------------------- setters

    def _unpause(self) -> None:
        self.paused = False
        self._log("Unpaused")

    def _set_signers(self, signers: tuple[bytes, ...], threshold: int) -> None:
        ascending = list(signers) == sorted(set(signers)) and ZERO not in signers
        if not ascending or not 1 <= threshold <= len(signers) <= 32:
            raise Refused("InvalidSigners")
        self.epoch, self.signers, self.threshold = self.epoch + 1, signers, threshold
        told = {"epoch": self.epoch, "threshold": threshold, "signers": signers}
        self._log("SignersChanged", **told, signerSet=self.signer_set)

    def _set_limit(self, limit: int) -> None:
        if not self.minimum <= limit <= AMOUNT_MAX:
            raise Refused("InvalidParameter")
        self.limit = limit
        self._log("LimitChanged", limit=limit)

    def _set_minimum(self, least: int) -> None:
        if not 0 < least <= self.limit:
            raise Refused("InvalidParameter")
        self.minimum = least
        self._log("MinimumChanged", minimum=least)

    def _set_fee(self, bps: int) -> None:
        if bps > 100:
            raise Refused("InvalidParameter")
        self.fee_bps = bps
        self._log("FeeChanged", feeBps=bps)

    def _set_guardian(self, account: bytes, allowed: bool) -> None:
        self._set_role(self.guardians, account, allowed)
        self._log("GuardianChanged", account=account, allowed=allowed)

    def _set_provider(self, account: bytes, allowed: bool) -> None:
        self._set_role(self.providers, account, allowed)
        self._log("LiquidityProviderChanged", account=account, allowed=allowed)

    def _set_role(self, role: set[bytes], account: bytes, allowed: bool) -> None:
        if account == ZERO:
            raise Refused("InvalidParameter")
        (role.add if allowed else role.discard)(account)

    # -------------------------------------------------------------------------- checks

    def _log(self, name: str, **values: Any) -> None:
        self.seq += 1
        self.logs.append((name, values | {"eventSeq": self.seq}))

    def _only(self, allowed: bool, sender: bytes) -> None:
        if not allowed:
            raise Refused("Unauthorized", sender)

    def _running(self) -> None:
        if self.paused:
            raise Refused("Paused")

    def _peered(self) -> None:
        if not self.peer[0]:
            raise Refused("NoPeer")

    def _payable(self, recipient: bytes) -> None:
        if recipient in (ZERO, self.address, self.peer[1]):
            raise Refused("InvalidRecipient", recipient)

    def _mine(self, message: Message) -> bytes:
        self._peered()
        if message["targetChain"] != self.chain:
            raise Refused("WrongChain", message["targetChain"])
        id_ = message_id(message)
        ends = (message["sourceChain"], message["sourceVault"], message["targetVault"])
        if ends != (*self.peer, self.address):
            raise Refused("WrongMessage", id_)
        return id_

    def _attested(self, signatures: Sequence[Signature], over: tuple[Any, ...]) -> None:
        if len(signatures) < self.threshold:
            raise Refused("NotEnoughSignatures", len(signatures), self.threshold)
        last = ZERO
        for index, one in enumerate(signatures):
            if not one.sound:
                raise Refused("InvalidSignature", index)
            if one.over != over:
                raise Refused("UnknownSigner", known=False)
            if one.signer not in self.signers:
                raise Refused("UnknownSigner", one.signer)
            if one.signer <= last:
                raise Refused("SignersNotSorted", one.signer)
            last = one.signer

    def _pooled(self, amount: int) -> None:
        if amount > self.pool:
            raise Refused("NotEnoughLiquidity", amount, self.pool)

    def _fits(self, amount: int) -> None:
        if amount > self.left:
            raise Refused("WindowFull", amount, self.left)

    def _spend(self, amount: int) -> None:
        self._fits(amount)
        self.spent.append((self.now, amount))

    def _pay(self, to: bytes, amount: int) -> bool:
        if to in self.refusing | self.greedy:
            self.unclaimed[to] = self.unclaimed.get(to, 0) + amount
            return False
        self.paid_out += amount
        return True

    def _sendable(self, to: bytes, amount: int) -> None:
        if to == ZERO:
            raise Refused("InvalidRecipient", to)
        if to in self.refusing or to == self.address:
            raise Refused("TransferFailed", to, amount)

    def _cancel(self, sender: bytes, id_: bytes, message: Message) -> None:
        self.fates[id_] = CANCELLED
        self._log("Cancelled", id=id_, by=sender, message=message)
