"""ABI and bytecode of every contract we use, as written by `chain/compile.mjs`."""

from functools import cache
from importlib.resources import files
from typing import Any

import orjson


@cache
def load(name: str) -> dict[str, Any]:
    """`{contractName, abi, bytecode, deployedBytecode}`; bytecode is 0x hex. Do not change it.

    Raises FileNotFoundError for a contract that is not kept.
    """
    document: dict[str, Any] = orjson.loads((files(__name__) / f"{name}.json").read_bytes())
    return document
