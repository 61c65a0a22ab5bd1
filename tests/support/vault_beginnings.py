"""Vaults that must not come into being."""

from dataclasses import replace
from typing import Any

from tests.model.vault import HOUR, Start
from tests.support.evm import Chain, Reverted
from tests.support.vault_bench import arguments, config
from tests.support.vault_signing import attestors

DAY = 24 * HOUR
SIGNERS = tuple(key.address for key in attestors()[:3])
MANY = tuple((1_000 + index).to_bytes(20, "big") for index in range(33))
ZERO = bytes(20)

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "threshold 0": ({"threshold": 0}, "InvalidSigners"),
    "threshold above the number": ({"threshold": 4}, "InvalidSigners"),
    "no signers": ({"signers": (), "threshold": 0}, "InvalidSigners"),
    "no signers, threshold 1": ({"signers": (), "threshold": 1}, "InvalidSigners"),
    "a zero signer": ({"signers": (ZERO, *SIGNERS)}, "InvalidSigners"),
    "a signer twice": ({"signers": (*SIGNERS, SIGNERS[-1])}, "InvalidSigners"),
    "unsorted signers": ({"signers": SIGNERS[::-1]}, "InvalidSigners"),
    "33 signers": ({"signers": MANY}, "InvalidSigners"),
    "no limit": ({"limit": 0}, "InvalidParameter"),
    "a limit too large": ({"limit": 2**88}, "InvalidParameter"),
    "no minimum": ({"minimum": 0}, "InvalidParameter"),
    "a minimum above the limit": ({"limit": 7, "minimum": 8}, "InvalidParameter"),
    "a fee above 1 %": ({"fee_bps": 101}, "InvalidParameter"),
    "no delay": ({"delay": 0}, "InvalidParameter"),
    "a delay under a minute": ({"delay": 59}, "InvalidParameter"),
    "a delay above 30 days": ({"delay": 30 * DAY + 1}, "InvalidParameter"),
    "a deadline before a day": ({"ttl": DAY - 1}, "InvalidParameter"),
    "a deadline after 30 days": ({"ttl": 30 * DAY + 1}, "InvalidParameter"),
    "no owner": ({"owner": ZERO}, "Unauthorized"),
    "a zero guardian": ({"guardians": (ZERO,)}, "InvalidParameter"),
    "a zero provider": ({"providers": (ZERO,)}, "InvalidParameter"),
}
RIGHT: dict[str, dict[str, Any]] = {
    "as tests have it": {},
    "all bounds": {"limit": 2**88 - 1, "fee_bps": 100, "delay": 30 * DAY, "ttl": 30 * DAY},
    "a minimum of the limit": {"limit": 2**88 - 1, "minimum": 2**88 - 1},
    "all other bounds": {"limit": 1, "minimum": 1, "fee_bps": 0, "delay": 60, "ttl": DAY},
    "all of 32": {"signers": MANY[:32], "threshold": 32},
    "one signer": {"signers": SIGNERS[:1], "threshold": 1},
    "nobody but the owner": {"guardians": (), "providers": ()},
}


def start(**changes: Any) -> Start:
    """A sound beginning, changed."""
    roles = {"owner": SIGNERS[0], "guardians": (SIGNERS[1],), "providers": (SIGNERS[2],)}
    return replace(Start(**config(**roles)), **changes)


def refusal(chain: Chain, artifact: dict[str, Any], begun: Start) -> str:
    """The error of its constructor, empty when there is none. Nothing stays."""
    code = artifact["bytecode"] + arguments(begun).hex()
    try:
        chain.rpc("eth_call", {"data": code}, "latest")
    except Reverted as error:
        return error.name
    return ""


def accepted_beginnings(chain: Chain, artifact: dict[str, Any]) -> list[str]:
    """Those that should not be."""
    return [
        name
        for name, (changes, _) in WRONG.items()
        if not refusal(chain, artifact, start(**changes))
    ]
