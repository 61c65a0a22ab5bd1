"""Contracts for tests: called and sent to by name, over a blocking JSON-RPC connection."""

import http.client
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from chain import abi

ROOT = Path(__file__).parents[2]
ETHER = 10**18
GAS = 15_000_000
FOREVER = 2**64
ERRORS_OF = ("Launchpad", "LaunchToken", "BridgeVault")
_REASON = bytes.fromhex("08c379a0")


class Reverted(Exception):
    """A call was refused; `name` is the Solidity error's, `arguments` its values."""

    def __init__(self, name: str, arguments: tuple[Any, ...] = ()) -> None:
        super().__init__(name, arguments)
        self.name = name
        self.arguments = arguments


class Chain:
    """One node, blocking. Accounts are made up by name and impersonated."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._accounts: dict[str, bytes] = {}

    def close(self) -> None:
        self._connection.close()

    def rpc(self, method: str, *params: Any) -> Any:
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._connection.request("POST", "/", body, {"content-type": "application/json"})
        answer = orjson.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise _reverted(answer["error"])
        return answer["result"]

    def account(self, name: str, balance: int = 1_000_000 * ETHER) -> bytes:
        """An address of its own for `name`, with ETH, that this node signs for."""
        if name not in self._accounts:
            address = keccak(b"account " + name.encode())[12:]
            self.rpc("anvil_setBalance", _hex(address), hex(balance))
            self.rpc("anvil_impersonateAccount", _hex(address))
            self._accounts[name] = address
        return self._accounts[name]

    def balance(self, address: bytes) -> int:
        return int(self.rpc("eth_getBalance", _hex(address), "latest"), 16)

    def block_number(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def mine(self, blocks: int) -> None:
        if blocks > 0:
            self.rpc("anvil_mine", hex(blocks))

    def pass_time(self, seconds: int) -> None:
        """A block that is `seconds` later than the last."""
        self.rpc("evm_increaseTime", hex(seconds))
        self.mine(1)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is sent inside is taken back at the end."""
        snapshot, accounts = self.rpc("evm_snapshot"), dict(self._accounts)
        try:
            yield
        finally:
            self._settle()
            assert self.rpc("evm_revert", snapshot)
            self._accounts = accounts  # those made inside have no ETH any more

    def _settle(self) -> None:
        # A receipt is there a moment before its transaction leaves the pool. What is sent after
        # a revert has the same sender and nonce, and would be dropped with it.
        for _ in range(2_000):
            if int(self.rpc("txpool_status")["pending"], 16) == 0:
                return
            time.sleep(0.005)
        raise AssertionError("the node's pool did not empty in 10 s")

    def impersonate(self, address: bytes) -> bytes:
        """Signs for a contract too, which gets nothing by it: it has no balance of its own."""
        self.rpc("anvil_impersonateAccount", _hex(address))
        return address

    def call(self, to: bytes, data: bytes, *, sender: bytes = bytes(20), value: int = 0) -> bytes:
        """Raises Reverted."""
        call = {"from": _hex(sender), "to": _hex(to), "data": _hex(data), "value": hex(value)}
        return _bytes(self.rpc("eth_call", call, "latest"))

    def send(
        self, to: bytes | None, data: bytes, *, sender: bytes, value: int = 0, gas: int = GAS
    ) -> dict[str, Any]:
        """The receipt of a mined transaction, whatever its status."""
        transaction = {
            "from": _hex(sender),
            "data": _hex(data),
            "value": hex(value),
            "gas": hex(gas),
            "gasPrice": hex(10**11),
        }
        if to is not None:
            transaction["to"] = _hex(to)
        tx_hash = self.rpc("eth_sendTransaction", transaction)
        for _ in range(2_000):  # the node mines at once, but answers the sending first
            receipt: dict[str, Any] | None = self.rpc("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                return receipt
            time.sleep(0.005)
        raise AssertionError(f"{tx_hash} was not mined in 10 s")

    def create(self, artifact: dict[str, Any], arguments: bytes, *, sender: bytes) -> bytes:
        """Deploy; the address."""
        receipt = self.send(None, _bytes(artifact["bytecode"]) + arguments, sender=sender)
        assert receipt["status"] == "0x1", receipt
        return _bytes(receipt["contractAddress"])


@dataclass(frozen=True)
class Event:
    name: str
    emitter: bytes
    args: dict[str, Any]


class Contract:
    """A contract by its ABI. Addresses are 20 bytes, structs are tuples."""

    def __init__(self, chain: Chain, artifact: dict[str, Any], address: bytes) -> None:
        self.chain = chain
        self.address = address
        self.artifact = artifact

    @cached_property
    def _functions(self) -> dict[str, dict[str, Any]]:
        return {e["name"]: e for e in self.artifact["abi"] if e["type"] == "function"}

    @cached_property
    def _events(self) -> dict[bytes, dict[str, Any]]:
        return {_topic(e): e for e in self.artifact["abi"] if e["type"] == "event"}

    @cached_property
    def selectors(self) -> dict[bytes, str]:
        """Function names by the first four bytes of a call."""
        return {_topic(entry)[:4]: name for name, entry in self._functions.items()}

    def data(self, function: str, *arguments: Any) -> bytes:
        entry = self._functions[function]
        return _topic(entry)[:4] + encode(_types(entry["inputs"]), arguments)

    def call(
        self, function: str, *arguments: Any, sender: bytes = bytes(20), value: int = 0
    ) -> Any:
        """One result bare, several as a tuple, a struct as a dict. Raises Reverted."""
        data = self.data(function, *arguments)
        answer = self.chain.call(self.address, data, sender=sender, value=value)
        outputs = self._functions[function]["outputs"]
        values = [_value(*pair) for pair in zip(outputs, _decode(outputs, answer), strict=True)]
        return values[0] if len(values) == 1 else tuple(values)

    def send(self, function: str, *arguments: Any, sender: bytes, value: int = 0) -> list[Event]:
        """Mined, and its events, in order. Raises Reverted with the reason."""
        receipt = self.transact(function, *arguments, sender=sender, value=value)
        return self.events(receipt)

    def transact(
        self, function: str, *arguments: Any, sender: bytes, value: int = 0
    ) -> dict[str, Any]:
        data = self.data(function, *arguments)
        receipt = self.chain.send(self.address, data, sender=sender, value=value)
        if receipt["status"] != "0x1":
            self.chain.call(self.address, data, sender=sender, value=value)
            raise AssertionError(f"{function} was mined as a revert, but is now allowed")
        return receipt

    def events(self, receipt: dict[str, Any]) -> list[Event]:
        """Those that this contract's ABI knows, whoever emitted them."""
        found = []
        for log in receipt["logs"]:
            topics = [_bytes(topic) for topic in log["topics"]]
            entry = self._events.get(topics[0])
            if entry is not None:
                args = _event_args(entry, topics[1:], _bytes(log["data"]))
                found.append(Event(entry["name"], _bytes(log["address"]), args))
        return found


def compile_sources(folder: Path, out: Path, *, quick: bool = False) -> dict[str, dict[str, Any]]:
    """Compile the contracts of `folder` against chain/contracts; artifacts by name."""
    words = ["--quick"] if quick else []
    subprocess.run(
        ["node", "chain/compile.mjs", "--sources", str(folder), "--out", str(out), *words],
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    return {file.stem: orjson.loads(file.read_bytes()) for file in out.glob("*.json")}


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _type(entry: dict[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    parts = ",".join(_types(entry["components"]))
    return f"({parts}){entry['type'][len('tuple') :]}"


def _types(entries: Sequence[dict[str, Any]]) -> list[str]:
    return [_type(entry) for entry in entries]


def _topic(entry: dict[str, Any]) -> bytes:
    return keccak(f"{entry['name']}({','.join(_types(entry['inputs']))})".encode())


def _decode(entries: Sequence[dict[str, Any]], data: bytes) -> tuple[Any, ...]:
    return decode(_types(entries), data)


def _value(entry: dict[str, Any], value: Any) -> Any:
    if entry["type"] == "tuple[]":
        return [_value({**entry, "type": "tuple"}, each) for each in value]
    if entry["type"] == "tuple":
        pairs = zip(entry["components"], value, strict=True)
        return {part["name"]: _value(part, each) for part, each in pairs}
    if entry["type"] == "address":
        return _bytes(value)
    return value


def _event_args(entry: dict[str, Any], topics: list[bytes], data: bytes) -> dict[str, Any]:
    plain = [each for each in entry["inputs"] if not each["indexed"]]
    values = dict(zip([each["name"] for each in plain], _decode(plain, data), strict=True))
    indexed = [each for each in entry["inputs"] if each["indexed"]]
    for each, topic in zip(indexed, topics, strict=True):
        (values[each["name"]],) = _decode([each], topic)
    return {each["name"]: _value(each, values[each["name"]]) for each in entry["inputs"]}


@cache
def _errors() -> dict[bytes, dict[str, Any]]:
    entries = [e for name in ERRORS_OF for e in abi.load(name)["abi"]]
    return {_topic(e)[:4]: e for e in entries if e["type"] == "error"}


def _reverted(error: dict[str, Any]) -> Reverted:
    data = error.get("data")
    if not isinstance(data, str) or len(data) < 10:
        return Reverted(str(error.get("message")))
    return named(_bytes(data))


def named(data: bytes) -> Reverted:
    """A revert's data as the error that it encodes."""
    entry = _errors().get(data[:4])
    if data[:4] == _REASON:
        return Reverted(decode(["string"], data[4:])[0])
    if entry is None:
        return Reverted("0x" + data.hex())
    values = _decode(entry["inputs"], data[4:])
    pairs = zip(entry["inputs"], values, strict=True)
    return Reverted(entry["name"], tuple(_value(each, value) for each, value in pairs))
