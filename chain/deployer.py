"""Puts the contracts on a chain.

Every contract goes through the deterministic deployment proxy (CREATE2), whose address is the
same on all chains. So addresses follow from the arguments: a run that broke off is simply run
again and finds what is there, and a dry run names the addresses before anything is sent.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain import abi, create2
from chain.rpc import JsonRpc
from engine import text
from engine.errors import CallerError
from engine.messages import FAMILY_CONSTANT_PRODUCT, FAMILY_LINEAR, CurveNumbers, FeeNumbers

OP_STACK_WETH = bytes.fromhex("4200000000000000000000000000000000000006")
LAUNCHPAD_VERSION = 2
VIRTUAL_ETH_WEI = 15 * 10**17
DEFAULT_FEES = FeeNumbers(
    protocol_bps=100,
    creator_bps=50,
    launch_bps=2_000,
    launch_blocks=30,
    pool_protocol_bps=0,
    pool_creator_bps=0,
)
FAMILY_NAMES = {FAMILY_CONSTANT_PRODUCT: "constant_product", FAMILY_LINEAR: "linear"}

_WAD = 10**18
_LOOKS, _LOOK_S = 20, 0.1
LAUNCHPAD_TYPES = [
    "address",
    "address",
    "address",
    "(uint16,uint16,uint16,uint16,uint16,uint16)",
    "(uint8,uint128,uint128,uint128,uint128)[]",
]


def default_curves(virtual_eth_wei: int = VIRTUAL_ETH_WEI) -> tuple[CurveNumbers, CurveNumbers]:
    """Curve 0, constant product, and curve 1, linear (+30 wei a token)."""
    return (
        CurveNumbers(
            family=FAMILY_CONSTANT_PRODUCT,
            a=virtual_eth_wei,
            b=1_073_000_000 * _WAD,
            curve_supply=793_100_000 * _WAD,
            pool_supply=206_900_000 * _WAD,
        ),
        CurveNumbers(
            family=FAMILY_LINEAR,
            a=1_400_000_000,
            b=30_000_000,
            curve_supply=650_000_000 * _WAD,
            pool_supply=350_000_000 * _WAD,
        ),
    )


async def deploy(
    rpc: JsonRpc,
    *,
    chain_id: int,
    private_key: str | bytes,
    owner: bytes | None = None,
    weth: bytes | None = None,
    factory: bytes | None = None,
    router: bytes | None = None,
    curves: Sequence[CurveNumbers] | None = None,
    fees: FeeNumbers = DEFAULT_FEES,
    older: Sequence[Mapping[str, Any]] = (),
    vault: Mapping[str, Any] | None = None,
    salt: bytes = create2.SALT,
    dry_run: bool = False,
    progress: create2.Progress | None = None,
) -> dict[str, Any]:
    """Deploy what is missing and return the registry's entry for this chain.

    `owner` is by default the sender. WETH is the OP stack's where it has code; the Uniswap
    contracts are our own where none is given. Running it again with the same arguments sends
    nothing and returns the same; another `salt` makes a second set. `older` are launchpads of an
    entry made before: those of a lower version that stand on this chain stay in the new one, in
    front, so that their tokens are followed on; so does its `vault`. With `dry_run` nothing is
    sent, `gas` in the answer is what each transaction would take, and `firstBlock` is the next
    block. `progress` gets a line a step.
    Raises CallerError (wrong chain, a missing proxy, a revert, too little ETH), TransientError
    (node not reached, no receipt in 120 s), RpcError (the node refused a transaction).
    """
    sender: LocalAccount = Account.from_key(private_key)
    say = progress or (lambda line: None)
    await create2.check_chain(rpc, chain_id)
    if weth is None and await create2.has_code(rpc, OP_STACK_WETH):
        weth = OP_STACK_WETH
    given = {"WETH9": weth, "UniswapV2Factory": factory, "UniswapV2Router02": router}
    owner = owner or bytes.fromhex(sender.address[2:])
    plan, addresses = _plan(
        given, owner=owner, curves=curves or default_curves(), fees=fees, salt=salt
    )
    missing = []
    for step in plan:
        if await create2.has_code(rpc, step.address):
            say(f"{step.name} is at {text.address(step.address)}")
        else:
            missing.append(step)
    asked = [(step, await _gas(rpc, sender.address, step)) for step in missing]
    gas = {step.name: found for step, found in asked if found is not None}
    missing = [step for step in missing if step.name in gas]
    if dry_run:
        for step in missing:
            say(f"{step.name} would go to {text.address(step.address)}, {gas[step.name]} gas")
    else:
        await _send_all(rpc, sender, missing, chain_id=chain_id, gas=gas, say=say)
    entry = await _entry(rpc, chain_id, addresses, curves=curves or default_curves())
    entry["launchpads"] = [*await _kept(rpc, older), *entry["launchpads"]]
    if vault is not None and await create2.has_code(rpc, bytes.fromhex(vault["address"][2:])):
        entry["vault"] = dict(vault)
    return entry | {"gas": gas} if dry_run else entry


async def _gas(rpc: JsonRpc, sender: str, step: create2.Planned) -> int | None:
    # None: what a run that broke off had sent was mined since we looked. A node that estimates on
    # its pending state (anvil does) refuses before it is.
    try:
        return await create2.estimate(rpc, sender, step)
    except CallerError:
        for _ in range(_LOOKS):
            if await create2.has_code(rpc, step.address):
                return None
            await asyncio.sleep(_LOOK_S)
        raise


def _plan(
    given: Mapping[str, bytes | None],
    *,
    owner: bytes,
    curves: Sequence[CurveNumbers],
    fees: FeeNumbers,
    salt: bytes,
) -> tuple[list[create2.Planned], dict[str, bytes]]:
    plan: list[create2.Planned] = []
    addresses = {name: address for name, address in given.items() if address is not None}

    def need(name: str, arguments: bytes = b"") -> None:
        if name not in addresses:
            code = bytes.fromhex(abi.load(name)["bytecode"][2:])
            plan.append(create2.Planned(name, code + arguments, salt))
            addresses[name] = plan[-1].address

    need("WETH9")
    need("UniswapV2Factory", encode(["address"], [owner]))
    exchange = [addresses["UniswapV2Factory"], addresses["WETH9"]]
    need("UniswapV2Router02", encode(["address", "address"], exchange))
    numbers = [astuple(curve) for curve in curves]
    need("Launchpad", encode(LAUNCHPAD_TYPES, [*exchange, owner, astuple(fees), numbers]))
    need("LaunchpadLens")
    # The launchpad's constructor makes the token implementation as its first contract.
    addresses["LaunchToken"] = keccak(b"\xd6\x94" + addresses["Launchpad"] + b"\x01")[12:]
    return plan, addresses


async def _send_all(
    rpc: JsonRpc,
    sender: LocalAccount,
    steps: Sequence[create2.Planned],
    *,
    chain_id: int,
    gas: Mapping[str, int],
    say: create2.Progress,
) -> None:
    # No step calls another's contract while it is deployed, so all may share a block.
    calls = [step.call(create2.with_margin(gas[step.name])) for step in steps]
    hashes = await create2.send(rpc, sender, calls, chain_id=chain_id)
    for step, tx_hash in zip(steps, hashes, strict=True):
        used = await create2.mined(rpc, step, tx_hash)
        say(f"{step.name} at {text.address(step.address)}, {used} gas")


async def _entry(
    rpc: JsonRpc, chain_id: int, addresses: Mapping[str, bytes], *, curves: Sequence[CurveNumbers]
) -> dict[str, Any]:
    genesis = await rpc.call("eth_getBlockByNumber", ["0x0", False])
    launchpad = {
        "address": text.address(addresses["Launchpad"]),
        "lens": text.address(addresses["LaunchpadLens"]),
        "tokenImplementation": text.address(addresses["LaunchToken"]),
        "firstBlock": await create2.first_block(rpc, addresses["Launchpad"]),
        "version": LAUNCHPAD_VERSION,
    }
    return {
        "chainId": chain_id,
        "genesisHash": genesis["hash"],
        "launchpads": [launchpad],
        "weth": text.address(addresses["WETH9"]),
        "factory": text.address(addresses["UniswapV2Factory"]),
        "router": text.address(addresses["UniswapV2Router02"]),
        "vault": None,
        "curves": [_curve(index, curve) for index, curve in enumerate(curves)],
    }


async def _kept(rpc: JsonRpc, older: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    kept = [dict(one) for one in older if one["version"] < LAUNCHPAD_VERSION]
    return [one for one in kept if await create2.has_code(rpc, bytes.fromhex(one["address"][2:]))]


def _curve(index: int, curve: CurveNumbers) -> dict[str, Any]:
    # Strings: these numbers do not fit a JavaScript number.
    return {
        "id": index,
        "family": FAMILY_NAMES[curve.family],
        "a": str(curve.a),
        "b": str(curve.b),
        "curveSupply": str(curve.curve_supply),
        "poolSupply": str(curve.pool_supply),
    }
