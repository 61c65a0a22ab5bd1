"""A node that speaks shreds, in front of an anvil: what RISE sends of a block before its seal.

python -m bench.peers.shredding_node <anvil's http://…> <seconds a block's shreds are spread over>
"""

import sys
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from bench.peers.python_peer import run
from tests.support.rpc_proxy import RpcProxy

TRANSACTIONS_A_SHRED = 5
_KEPT = AsyncExitStack()


async def serve() -> int:
    """Its port; it serves as long as the process lives."""
    anvil_url, spread_s = sys.argv[1:]
    proxy = RpcProxy(anvil_url, shred_s=float(spread_s), txs_per_shred=TRANSACTIONS_A_SHRED)
    await _KEPT.enter_async_context(proxy)
    return urlsplit(proxy.rpc_url).port or 0


if __name__ == "__main__":
    run(serve)
