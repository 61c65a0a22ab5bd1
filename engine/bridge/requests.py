"""What to do next about one transfer, decided from what the chains say of it.

The table at the end is the whole behaviour: the first row that fits decides. Nothing is sent
before the deposit is final, a refund only for a final `Cancelled`, and nothing at all where
the chains contradict each other. Facts may be taken back by a reorganisation; then an earlier
row fits again, and only what is final ends a request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from engine.bridge.messages import CANCEL_AFTER_S, Message

PENDING, PROCESSING, COMPLETED, FAILED = "PENDING", "PROCESSING", "COMPLETED", "FAILED"
ENDED = frozenset({COMPLETED, FAILED})

DEPOSIT_WAIT_S = 86_400
"""A request without a deposit for so long is closed; a deposit that comes later opens it."""

RELEASE_MARGIN_S = 60
"""So near to the deadline no release is begun: it would be mined as a revert."""


class Step(StrEnum):
    """Where a request is, for people."""

    AWAITING_DEPOSIT = "awaiting_deposit"
    CONFIRMING = "confirming"
    ATTESTING = "attesting"
    RELEASING = "releasing"
    QUEUED = "queued"
    CANCELLING = "cancelling"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    RELEASED = "released"
    EXPIRED = "expired"
    CONTRADICTION = "contradiction"


class Action(StrEnum):
    """What the relayer does."""

    WAIT = "wait"
    RELEASE = "release"
    CANCEL = "cancel"
    REFUND = "refund"
    FINISH = "finish"
    ALARM = "alarm"


SENDS = frozenset({Action.RELEASE, Action.CANCEL, Action.REFUND})
"""Those that need a transaction."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event about this message. `final`: its block can not be taken back any more."""

    block_number: int
    tx_hash: bytes
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is recorded. `message` is there with its `deposit`; `target_time` is the newest
    recorded block's at the target, unix seconds; `sending` what is under way for it."""

    message: Message | None = None
    deposit: Seen | None = None
    queued: Seen | None = None
    released: Seen | None = None
    cancelled: Seen | None = None
    refunded: Seen | None = None
    target_time: int = 0
    sending: Action | None = None
    age_s: int = 0

    @property
    def deadline(self) -> int:
        """Of the message."""
        assert self.message is not None, "Expected a deposit"
        return self.message.deadline


Key = tuple[int, int, bytes]
"""A request's: source chain, vault version, id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As it is kept. `revision` counts what became known of it, `attempts` what was tried in
    vain since."""

    key: Key
    target_chain: int
    status: str
    step: str
    reason: str
    attempts: int
    revision: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The request's state from now on, and what is done about it."""

    status: str
    step: Step
    action: Action = Action.WAIT
    reason: str = ""


def decide(facts: Facts) -> Decision:
    """The first row of the table that fits. Deterministic."""
    return next(decision for fits, decision in TABLE if fits(facts))


def _final(seen: Seen | None) -> bool:
    return seen is not None and seen.final


def _contradicted(facts: Facts) -> bool:
    paid_twice = facts.released is not None and facts.refunded is not None
    ended_twice = facts.released is not None and facts.cancelled is not None
    from_nothing = facts.deposit is None and (facts.released or facts.refunded) is not None
    return paid_twice or ended_twice or from_nothing


Row = tuple[Callable[[Facts], bool], Decision]

TABLE: tuple[Row, ...] = (
    (_contradicted, Decision(PROCESSING, Step.CONTRADICTION, Action.ALARM, "contradiction")),
    # ended
    (lambda f: _final(f.released), Decision(COMPLETED, Step.RELEASED, Action.FINISH)),
    (lambda f: _final(f.refunded), Decision(FAILED, Step.REFUNDED, Action.FINISH, "refunded")),
    # the last step is done, and not final yet
    (lambda f: f.released is not None, Decision(PROCESSING, Step.RELEASING)),
    (lambda f: f.refunded is not None, Decision(PROCESSING, Step.REFUNDING)),
    # no deposit
    (
        lambda f: f.deposit is None and f.age_s > DEPOSIT_WAIT_S,
        Decision(FAILED, Step.EXPIRED, Action.FINISH, "no deposit in a day"),
    ),
    (lambda f: f.deposit is None, Decision(PENDING, Step.AWAITING_DEPOSIT)),
    (lambda f: not _final(f.deposit), Decision(PENDING, Step.CONFIRMING)),
    # something is under way: one at a time
    (lambda f: f.sending is Action.RELEASE, Decision(PROCESSING, Step.RELEASING)),
    (lambda f: f.sending is Action.CANCEL, Decision(PROCESSING, Step.CANCELLING)),
    (lambda f: f.sending is Action.REFUND, Decision(PROCESSING, Step.REFUNDING)),
    # the target said no
    (lambda f: _final(f.cancelled), Decision(PROCESSING, Step.REFUNDING, Action.REFUND)),
    (lambda f: f.cancelled is not None, Decision(PROCESSING, Step.CANCELLING)),
    # the target has not paid yet
    (lambda f: f.queued is not None, Decision(PROCESSING, Step.QUEUED, Action.RELEASE)),
    (
        lambda f: f.target_time > f.deadline + CANCEL_AFTER_S,
        Decision(PROCESSING, Step.CANCELLING, Action.CANCEL),
    ),
    (
        lambda f: f.target_time > f.deadline - RELEASE_MARGIN_S,
        Decision(PROCESSING, Step.CANCELLING, reason="not released in time"),
    ),
    (lambda _: True, Decision(PROCESSING, Step.ATTESTING, Action.RELEASE)),
)
