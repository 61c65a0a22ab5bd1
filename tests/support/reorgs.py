"""What a reorganisation of an anvil leaves of the blocks it takes away."""

import random
from typing import Any

from chain.rpc import JsonRpc


async def kept(rpc: JsonRpc, rng: random.Random, depth: int) -> tuple[list[Any], int]:
    """(transactions for `anvil_reorg` of `depth` to include again, how many are dropped).

    Of each sender a first part of its transactions, so that nonces have no hole, in blocks that
    do not fall.
    """
    head = int(await rpc.call("eth_blockNumber", []), 16)
    pairs: list[Any] = []
    ended: set[str] = set()
    total, place = 0, {}
    for number in range(head - depth + 1, head + 1):
        block = await rpc.call("eth_getBlockByNumber", [hex(number), True])
        for one in block["transactions"]:
            total += 1
            if one["from"] in ended or rng.random() < 0.5:
                ended.add(one["from"])
                continue
            low = place.get(one["from"], 0)
            place[one["from"]] = at = rng.randint(low, depth - 1)
            raw = await rpc.call("eth_getRawTransactionByHash", [one["hash"]])
            pairs.append([raw, at])
    # One block's transactions in the order in which they are handed over.
    return sorted(pairs, key=lambda pair: int(pair[1])), total - len(pairs)
