"""Puts the bridge's vault on a chain, tells it its other end, gives it liquidity.

Like the launchpad it goes through CREATE2. Nothing of a chain is in its code, so with the same
parameters it has the same address on both chains, and either end can be told before the other
is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain import abi, create2
from chain.rpc import JsonRpc, RpcError
from engine import text
from engine.errors import CallerError

VAULT_VERSION = 1
MINIMUM_WEI = 10**15
TRANSFER_TTL_S = 48 * 3_600
"""Longer than the relayer holds anything back (`engine.bridge.line`), with time to spare."""

VAULT_TYPES = [
    "(address,address[],uint256,address[],address[],uint256,uint256,uint256,uint256,uint256)",
]

_CALL_GAS = 200_000
"""More than `setPeer` or `addLiquidity` take: they are sent before the vault is there to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """A vault's first parameters. `limit_wei` is what may leave in any 24 hours, `minimum_wei` the
    least deposit, `delay_s` what the owner's changes wait; a deposit may be released for
    `transfer_ttl_s` (24 h or more)."""

    owner: bytes
    signers: tuple[bytes, ...]
    threshold: int
    guardians: tuple[bytes, ...]
    liquidity_providers: tuple[bytes, ...]
    limit_wei: int
    fee_bps: int
    delay_s: int
    minimum_wei: int = MINIMUM_WEI
    transfer_ttl_s: int = TRANSFER_TTL_S

    def encoded(self) -> bytes:
        """The constructor's argument; signers ascending."""
        people = (self.guardians, self.liquidity_providers)
        amounts = (self.limit_wei, self.minimum_wei)
        numbers = (*amounts, self.fee_bps, self.delay_s, self.transfer_ttl_s)
        signers = sorted(self.signers)
        return encode(VAULT_TYPES, [(self.owner, signers, self.threshold, *people, *numbers)])

    def planned(self, salt: bytes = create2.SALT) -> create2.Planned:
        """The vault with these parameters; its address is the same on every chain."""
        code = bytes.fromhex(abi.load("BridgeVault")["bytecode"][2:])
        return create2.Planned("BridgeVault", code + self.encoded(), salt)


async def deploy_vault(
    rpc: JsonRpc,
    *,
    chain_id: int,
    private_key: str | bytes,
    config: VaultConfig,
    peer: tuple[int, bytes] | None = None,
    liquidity_wei: int = 0,
    salt: bytes = create2.SALT,
    dry_run: bool = False,
    progress: create2.Progress | None = None,
) -> dict[str, Any]:
    """Do what is missing and return the registry's `vault`: `{address, firstBlock, version}`.

    `peer` (chain id, vault) is told by the owner, who must be the sender then; `liquidity_wei` is
    what providers, of whom the sender must be one, have in it at least. Running it again sends
    nothing. With `dry_run` nothing is sent, `gas` is what deploying would take and `firstBlock`
    the next block. Raises CallerError (wrong chain, missing proxy, refused, another peer),
    TransientError (node not reached, no receipt in 120 s), RpcError.
    """
    sender: LocalAccount = Account.from_key(private_key)
    say = progress or (lambda line: None)
    await create2.check_chain(rpc, chain_id)
    step, gas = config.planned(salt), dict[str, int]()
    calls: list[create2.Call] = []
    if await create2.has_code(rpc, step.address):
        say(f"{step.name} is at {text.address(step.address)}")
    else:
        gas[step.name] = await create2.estimate(rpc, sender.address, step)
        calls.append(step.call(create2.with_margin(gas[step.name])))
    calls += await _settings(rpc, step.address, peer, liquidity_wei=liquidity_wei, there=not calls)
    if dry_run:
        words = f"would go to {text.address(step.address)}, {gas} gas" if gas else "is there"
        say(f"{step.name} {words}")
    elif calls:
        hashes = await create2.send(rpc, sender, calls, chain_id=chain_id)
        await _agreed(rpc, hashes)
        say(f"{step.name} at {text.address(step.address)}, {len(calls)} transactions")
    vault = {
        "address": text.address(step.address),
        "firstBlock": await create2.first_block(rpc, step.address),
        "version": VAULT_VERSION,
    }
    return vault | {"gas": gas} if dry_run else vault


async def set_peer(
    rpc: JsonRpc, *, chain_id: int, private_key: str | bytes, vault: bytes, peer: tuple[int, bytes]
) -> bool:
    """Tell a vault its other end, (chain id, vault), as its owner. True if it was sent now.

    Raises CallerError when it has another peer already or refuses; else as `deploy_vault`.
    """
    sender: LocalAccount = Account.from_key(private_key)
    calls = await _settings(rpc, vault, peer, liquidity_wei=0, there=True)
    for call in calls:
        await _check_accepted(rpc, sender.address, call)
    await _agreed(rpc, await create2.send(rpc, sender, calls, chain_id=chain_id))
    return bool(calls)


async def _settings(
    rpc: JsonRpc, vault: bytes, peer: tuple[int, bytes] | None, *, liquidity_wei: int, there: bool
) -> list[create2.Call]:
    calls = []
    if peer is not None and not (there and await _has_peer(rpc, vault, peer)):
        data = _selector("setPeer(uint256,address)") + encode(["uint256", "address"], peer)
        calls.append(create2.Call(vault, data, _CALL_GAS))
    if liquidity_wei:
        held = (await _read(rpc, vault, "totals()", types=["uint256"] * 7))[0] if there else 0
        if held < liquidity_wei:
            data = _selector("addLiquidity()")
            calls.append(create2.Call(vault, data, _CALL_GAS, liquidity_wei - held))
    return calls


async def _has_peer(rpc: JsonRpc, vault: bytes, peer: tuple[int, bytes]) -> bool:
    chain_id, address = await _read(rpc, vault, "peer()", types=["uint256", "address"])
    if chain_id and (chain_id, bytes.fromhex(address[2:])) != peer:
        message = f"Expected {text.address(peer[1])} on chain {peer[0]} as the vault's peer,"
        raise CallerError("invalid_request", f"{message} was {address} on chain {chain_id}")
    return bool(chain_id)


async def _check_accepted(rpc: JsonRpc, sender: str, call: create2.Call) -> None:
    asked = {"from": sender, "to": text.hex_of(call.to), "data": text.hex_of(call.data)}
    try:
        await rpc.call("eth_call", [asked, "latest"])
    except RpcError as error:
        message = f"The vault {text.address(call.to)} refuses: {error}"
        raise CallerError("invalid_request", message) from error


async def _agreed(rpc: JsonRpc, hashes: Sequence[str]) -> None:
    for tx_hash in hashes:
        receipt = await create2.receipt(rpc, "the vault's transaction", tx_hash)
        if int(receipt["status"], 16) != 1:
            raise CallerError("invalid_request", f"Expected the vault to agree, {tx_hash} failed")


async def _read(
    rpc: JsonRpc, to: bytes, signature: str, *, types: Sequence[str]
) -> tuple[Any, ...]:
    call = {"to": text.hex_of(to), "data": text.hex_of(_selector(signature))}
    answer = bytes.fromhex((await rpc.call("eth_call", [call, "latest"]))[2:])
    if len(answer) < 32 * len(types):
        message = f"Expected a vault at {text.address(to)}, was none that answers {signature}"
        raise CallerError("unknown_contract", message)
    return decode(types, answer)


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]
