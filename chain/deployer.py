"""Puts the contracts on a chain.

Every contract goes through the deterministic deployment proxy (CREATE2), whose address is the
same on all chains. So addresses follow from the arguments: a run that broke off is simply run
again and finds what is there, and a dry run names the addresses before anything is sent.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain import abi
from chain.rpc import JsonRpc, RpcError
from engine import text
from engine.errors import CallerError, TransientError
from engine.limits import TRANSACTION_GAS_MAX
from engine.messages import FAMILY_CONSTANT_PRODUCT, FAMILY_LINEAR, CurveNumbers, FeeNumbers

PROXY = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
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
RECEIPT_TIMEOUT_S = 120.0
RECEIPT_POLL_S = 0.1
FAMILY_NAMES = {FAMILY_CONSTANT_PRODUCT: "constant_product", FAMILY_LINEAR: "linear"}

_WAD = 10**18
_SALT = keccak(b"risecurve")
_FIRST_BLOCK = keccak(b"firstBlock()")[:4]
LAUNCHPAD_TYPES = [
    "address",
    "address",
    "address",
    "(uint16,uint16,uint16,uint16,uint16,uint16)",
    "(uint8,uint128,uint128,uint128,uint128)[]",
]

VAULT_TYPES = [
    "(address,address[],uint256,address[],address[],uint256,uint256,uint256,uint256)",
]
VAULT_VERSION = 1
TRANSFER_TTL_S = 24 * 3_600

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """A vault's first parameters. `limit_wei` is what may leave in any 24 hours, `delay_s` what
    the owner's changes wait; a deposit may be released for `transfer_ttl_s` (24 h or more)."""

    owner: bytes
    signers: tuple[bytes, ...]
    threshold: int
    guardians: tuple[bytes, ...]
    liquidity_providers: tuple[bytes, ...]
    limit_wei: int
    fee_bps: int
    delay_s: int
    transfer_ttl_s: int = TRANSFER_TTL_S

    def encoded(self) -> bytes:
        """The constructor's argument; signers ascending."""
        values = asdict(self) | {"signers": sorted(self.signers)}
        return encode(VAULT_TYPES, [tuple(values.values())])


@dataclass(frozen=True, slots=True)
class _Planned:
    name: str
    init_code: bytes
    salt: bytes

    @property
    def address(self) -> bytes:
        return keccak(b"\xff" + PROXY + self.salt + keccak(self.init_code))[12:]

    @property
    def data(self) -> str:
        return text.hex_of(self.salt + self.init_code)


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
    salt: bytes = _SALT,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Deploy what is missing and return the registry's entry for this chain.

    `owner` is by default the sender. WETH is the OP stack's where it has code; the Uniswap
    contracts are our own where none is given. Running it again with the same arguments sends
    nothing and returns the same; another `salt` makes a second set. `older` are launchpads of an
    entry made before: those of a lower version that stand on this chain stay in the new one, in
    front, so that their tokens are followed on. With `dry_run` nothing is
    sent, `gas` in the answer is what each transaction would take, and `firstBlock` is the next
    block. `progress` gets a line a step.
    Raises CallerError (wrong chain, a missing proxy, a revert, too little ETH), TransientError
    (node not reached, no receipt in 120 s), RpcError (the node refused a transaction).
    """
    sender: LocalAccount = Account.from_key(private_key)
    say = progress or (lambda line: None)
    await _check_chain(rpc, chain_id)
    if weth is None and await _has_code(rpc, OP_STACK_WETH):
        weth = OP_STACK_WETH
    given = {"WETH9": weth, "UniswapV2Factory": factory, "UniswapV2Router02": router}
    owner = owner or bytes.fromhex(sender.address[2:])
    plan, addresses = _plan(
        given, owner=owner, curves=curves or default_curves(), fees=fees, salt=salt
    )
    missing = []
    for step in plan:
        if await _has_code(rpc, step.address):
            say(f"{step.name} is at {text.address(step.address)}")
        else:
            missing.append(step)
    gas = {step.name: await _estimate(rpc, sender.address, step) for step in missing}
    if dry_run:
        for step in missing:
            say(f"{step.name} would go to {text.address(step.address)}, {gas[step.name]} gas")
    else:
        await _send_all(rpc, sender, missing, chain_id=chain_id, gas=gas, say=say)
    entry = await _entry(rpc, chain_id, addresses, curves=curves or default_curves())
    entry["launchpads"] = [*await _kept(rpc, older), *entry["launchpads"]]
    return entry | {"gas": gas} if dry_run else entry


def _plan(
    given: Mapping[str, bytes | None],
    *,
    owner: bytes,
    curves: Sequence[CurveNumbers],
    fees: FeeNumbers,
    salt: bytes,
) -> tuple[list[_Planned], dict[str, bytes]]:
    plan: list[_Planned] = []
    addresses = {name: address for name, address in given.items() if address is not None}

    def need(name: str, arguments: bytes = b"") -> None:
        if name not in addresses:
            code = bytes.fromhex(abi.load(name)["bytecode"][2:])
            plan.append(_Planned(name, code + arguments, salt))
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


async def _check_chain(rpc: JsonRpc, chain_id: int) -> None:
    found = int(await rpc.call("eth_chainId", []), 16)
    if found != chain_id:
        raise CallerError("wrong_chain", f"Expected chain {chain_id}, was {found}")
    if not await _has_code(rpc, PROXY):
        message = f"Expected the deterministic deployment proxy at {text.address(PROXY)}, was none"
        raise CallerError("unknown_contract", message)


async def _has_code(rpc: JsonRpc, address: bytes) -> bool:
    return len(await rpc.call("eth_getCode", [text.hex_of(address), "latest"])) > 2


async def _estimate(rpc: JsonRpc, sender: str, step: _Planned) -> int:
    call = {"from": sender, "to": text.hex_of(PROXY), "data": step.data}
    try:
        estimate = int(await rpc.call("eth_estimateGas", [call]), 16)
    except RpcError as error:
        raise CallerError("invalid_request", f"{step.name} cannot be deployed: {error}") from error
    if estimate > TRANSACTION_GAS_MAX:
        message = f"Expected {step.name} within {TRANSACTION_GAS_MAX} gas, was {estimate}"
        raise CallerError("invalid_request", message)
    return estimate


async def _send_all(
    rpc: JsonRpc,
    sender: LocalAccount,
    steps: Sequence[_Planned],
    *,
    chain_id: int,
    gas: Mapping[str, int],
    say: Progress,
) -> None:
    # No step calls another's contract while it is deployed, so all may share a block.
    nonce = int(await rpc.call("eth_getTransactionCount", [sender.address, "pending"]), 16)
    block = await rpc.call("eth_getBlockByNumber", ["latest", False])
    tip = int(await rpc.call("eth_maxPriorityFeePerGas", []), 16)
    sent: list[tuple[_Planned, str]] = []
    for offset, step in enumerate(steps):
        transaction = {
            "chainId": chain_id,
            "nonce": nonce + offset,
            "to": PROXY,
            "value": 0,
            "data": step.data,
            "gas": min(gas[step.name] * 12 // 10, TRANSACTION_GAS_MAX),
            "maxFeePerGas": 2 * int(block["baseFeePerGas"], 16) + tip,
            "maxPriorityFeePerGas": tip,
        }
        raw = sender.sign_transaction(transaction).raw_transaction
        sent.append((step, await rpc.call("eth_sendRawTransaction", [text.hex_of(bytes(raw))])))
    for step, tx_hash in sent:
        used = await _mined(rpc, step, tx_hash)
        say(f"{step.name} at {text.address(step.address)}, {used} gas")


async def _mined(rpc: JsonRpc, step: _Planned, tx_hash: str) -> int:
    deadline = time.monotonic() + RECEIPT_TIMEOUT_S
    while True:
        receipt = await rpc.call("eth_getTransactionReceipt", [tx_hash])
        if receipt is not None and receipt["blockNumber"] is not None:
            break
        if time.monotonic() > deadline:
            message = f"Expected {step.name} mined in {RECEIPT_TIMEOUT_S} s, was {tx_hash} pending"
            raise TransientError("stale_chain", message)
        await asyncio.sleep(RECEIPT_POLL_S)
    # Not the status: the same deployment of an earlier run may have been mined just before.
    if not await _has_code(rpc, step.address):
        raise CallerError("invalid_request", f"Expected {step.name} deployed, {tx_hash} failed")
    return int(receipt["gasUsed"], 16)


async def _entry(
    rpc: JsonRpc, chain_id: int, addresses: Mapping[str, bytes], *, curves: Sequence[CurveNumbers]
) -> dict[str, Any]:
    genesis = await rpc.call("eth_getBlockByNumber", ["0x0", False])
    launchpad = {
        "address": text.address(addresses["Launchpad"]),
        "lens": text.address(addresses["LaunchpadLens"]),
        "tokenImplementation": text.address(addresses["LaunchToken"]),
        "firstBlock": await _first_block(rpc, addresses["Launchpad"]),
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
    return [one for one in kept if await _has_code(rpc, bytes.fromhex(one["address"][2:]))]


async def _first_block(rpc: JsonRpc, launchpad: bytes) -> int:
    if not await _has_code(rpc, launchpad):
        return int(await rpc.call("eth_blockNumber", []), 16) + 1
    call = {"to": text.hex_of(launchpad), "data": text.hex_of(_FIRST_BLOCK)}
    return int(await rpc.call("eth_call", [call, "latest"]), 16)


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
