"""What `risecurve deploy` is told about a vault, checked before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account

from chain.rpc import JsonRpc
from chain.vault_deployer import VaultConfig, deploy_vault
from deploy.process import StartError
from deploy.settings import is_devnet_account
from engine import text
from engine.errors import CallerError
from gateway.addresses import parse_address
from gateway.units import parse_amount

DELAY_S = 48 * 3_600
DELAY_S_MIN = 3_600
"""On a network somebody must be able to see a change and react before it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPlan:
    """The command line's words: addresses separated by commas, ETH as a decimal.

    Empty `owner` and `liquidity_providers`: the sender. Empty `peer_vault`: the same address,
    which a vault with the same parameters has on the other chain.
    """

    signers: str
    threshold: int
    guardians: str
    limit: str
    minimum: str
    fee_bps: int
    delay_s: int
    owner: str = ""
    liquidity_providers: str = ""
    peer_vault: str = ""

    def config(self, private_key: str, *, production: bool) -> VaultConfig:
        """Raises StartError that names every fault."""
        sender = bytes.fromhex(Account.from_key(private_key).address[2:])
        faults: list[str] = []
        signers = _addresses("--signers", self.signers, faults)
        guardians = _addresses("--guardians", self.guardians, faults)
        owners = _addresses("--owner", self.owner, faults) or (sender,)
        providers = _addresses("--liquidity-providers", self.liquidity_providers, faults)
        if not 1 <= self.threshold <= max(1, len(signers)) or not signers:
            faults.append(
                f"--threshold: expected 1 to the number of signers, was {self.threshold}"
                f" of {len(signers)}"
            )
        if not guardians:
            faults.append("--guardians: expected at least one, who can pause at once")
        limit_wei = _amount("--limit", self.limit, faults)
        minimum_wei = _amount("--minimum", self.minimum, faults)
        if limit_wei and minimum_wei > limit_wei:
            faults.append(f"--minimum: expected at most the limit, was {self.minimum}")
        if production:
            people = (*signers, *guardians, *owners, *providers)
            faults += [
                f"{text.address(one)}: expected an account of your own, it is one of anvil's"
                for one in dict.fromkeys(people)
                if is_devnet_account(text.address(one))
            ]
        if faults:
            raise StartError("The vault cannot be so: " + "; ".join(faults) + ".")
        return VaultConfig(
            owner=owners[0],
            signers=signers,
            threshold=self.threshold,
            guardians=guardians,
            liquidity_providers=providers or owners,
            limit_wei=limit_wei,
            minimum_wei=minimum_wei,
            fee_bps=self.fee_bps,
            delay_s=self.delay_s,
        )

    async def carry_out(
        self,
        rpc: JsonRpc,
        *,
        chain_id: int,
        peer_chain_id: int,
        private_key: str,
        production: bool,
        dry_run: bool,
        say: Any,
    ) -> dict[str, Any]:
        """Deploy it and, where the sender owns it, set its peer; the registry's `vault`."""
        config = self.config(private_key, production=production)
        sender = bytes.fromhex(Account.from_key(private_key).address[2:])
        peer = config.planned().address
        if self.peer_vault:
            peer = _addresses("--peer-vault", self.peer_vault, [])[0]
        if sender != config.owner:
            say(f"the owner {text.address(config.owner)} must set the peer {text.address(peer)}")
        return await deploy_vault(
            rpc,
            chain_id=chain_id,
            private_key=private_key,
            config=config,
            peer=(peer_chain_id, peer) if sender == config.owner else None,
            dry_run=dry_run,
            progress=say,
        )


def _addresses(name: str, value: str, faults: list[str]) -> tuple[bytes, ...]:
    found: Sequence[bytes] = []
    try:
        found = [parse_address(one.strip()) for one in value.split(",") if one.strip()]
    except CallerError as error:
        faults.append(f"{name}: {error.message}")
    if len(set(found)) != len(found):
        faults.append(f"{name}: expected each address once")
    return tuple(found)


def _amount(name: str, value: str, faults: list[str]) -> int:
    try:
        return parse_amount(value)
    except CallerError as error:
        faults.append(f"{name}: {error.message}")
        return 0
