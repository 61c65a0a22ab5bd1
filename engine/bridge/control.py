"""What relayer, attestors and operators say to each other."""

from dataclasses import dataclass

from engine.bridge.messages import Message
from engine.bridge.requests import Key

RELEASE, REFUND = "release", "refund"


@dataclass(frozen=True, slots=True)
class Attest:
    """Attestor: sign that this message may be released at its target, or refunded at its source.
    Answer: `Attested` or `Declined`. `block_number` is where the event is said to be, `Deposited`
    for a release and `Cancelled` for a refund: a hint, everything is looked at."""

    kind: str
    message: Message
    block_number: int


@dataclass(frozen=True, slots=True)
class Attested:
    """65 bytes (r, s, v) over the EIP-712 digest, under this signer set."""

    signer: bytes
    signature: bytes
    signer_set: bytes


@dataclass(frozen=True, slots=True)
class Declined:
    """Not signed. `code` is stable: `halted`, `not_final`, `unknown`, `mismatch`, `fate`,
    `not_a_signer`, `expired`, `full`, `trouble`, `disagreement`."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Relayer: look at this request now, without its pause. Key as in the store."""

    request: Key


@dataclass(frozen=True, slots=True)
class CancelQueued:
    """Bridge checker: end this queued message with the guardian's key; the relayer refunds it then.
    Answer: the chain on which it is cancelled. Repeatable. CallerError: `not_found` where no vault
    knows it, `invalid_request` where it has another fate. TransientError: `bridge_pausing` while
    there is an alarm or a pause is asked for, `not_cancelled` where the vault reverted it; it is
    queued then, as far as was seen."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Bridge checker: pause both vaults now, with the guardian's key. Answer: by chain id, whether
    it is paused. Repeatable; only the owner unpauses."""
