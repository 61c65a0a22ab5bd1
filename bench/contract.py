"""The contract's own quote by `eth_call`, for the peer that is a node."""

from eth_abi.abi import encode
from eth_hash.auto import keccak

from bench.wires import Choice, Wire, eth_call

_QUOTE = keccak(b"quote(address,bool,bool,uint256,uint256)")[:4]
FOR_BLOCK = 2**40
"""Far away: the launch fee has ended."""


def eth_call_wire(contract: dict[str, str]) -> Wire:
    """`contract` has `launchpad`, an address."""

    def call(choice: Choice) -> tuple[str, str]:
        values = (choice.token, choice.side == "buy", choice.mode == "exactOut")
        types = ["address", "bool", "bool", "uint256", "uint256"]
        data = _QUOTE + encode(types, [*values, choice.amount_wei, FOR_BLOCK])
        return contract["launchpad"], "0x" + data.hex()

    return eth_call(call)
