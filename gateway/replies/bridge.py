"""Answers about transfers between the chains."""

from typing import Literal

from gateway.fields import Strict
from gateway.replies.common import AddressText, Decimal, HashText
from gateway.replies.markets import TransactionFields

BridgeStatus = Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED"]
BridgeStep = Literal[
    "awaiting_deposit",
    "confirming",
    "attesting",
    "releasing",
    "queued",
    "cancelling",
    "refunding",
    "refunded",
    "released",
    "expired",
    "contradiction",
]


class BridgeBegunData(Strict):
    """A request; `transaction` is its deposit, on `sourceChain`, for the wallet to sign and send.
    `queued`: the target's window is full now, so it would wait. `estimatedSeconds` from the
    deposit on.
    """

    id: HashText
    source_chain: int
    target_chain: int
    target_address: AddressText
    amount: Decimal
    fee: Decimal
    receives: Decimal
    queued: bool
    estimated_seconds: int | None
    expires_at: str
    transaction: TransactionFields


class BridgeMinedData(Strict):
    """The block of a transaction; `final`: it cannot be taken back any more."""

    block_number: int
    timestamp: int
    confirmations: int
    final: bool


class BridgeStepData(Strict):
    """A step that was taken."""

    status: BridgeStatus
    step: BridgeStep
    reason: str | None
    at: str


class BridgeTransferData(Strict):
    """A transfer. `estimatedSeconds` until it is completed, null where nobody can tell; `source` is
    the deposit's block, `target` the payment's, `refund` that of giving it back.
    """

    id: HashText
    message_id: HashText | None
    status: BridgeStatus
    step: BridgeStep
    reason: str | None
    user_address: AddressText
    target_address: AddressText
    source_chain: int
    target_chain: int
    amount: Decimal
    fee: Decimal | None
    receives: Decimal | None
    source_tx_hash: HashText | None
    target_tx_hash: HashText | None
    refund_tx_hash: HashText | None
    source: BridgeMinedData | None
    target: BridgeMinedData | None
    refund: BridgeMinedData | None
    estimated_seconds: int | None
    deadline: int | None
    attempts: int
    created_at: str
    updated_at: str
    ended_at: str | None
    steps: list[BridgeStepData]


class BridgeStuckData(Strict):
    """Oldest first."""

    items: list[BridgeTransferData]


class BridgePausedChainData(Strict):
    """One vault; not paused: it could not be reached, ask again."""

    chain_id: int
    paused: bool


class BridgePausedData(Strict):
    """Both vaults."""

    chains: list[BridgePausedChainData]
