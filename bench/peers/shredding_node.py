"""A node that speaks shreds, in front of an anvil: what RISE sends of a block before its seal.

python -m bench.peers.shredding_node <anvil's http://…> <seconds a block's shreds are spread over>
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

from tests.support.rpc_proxy import RpcProxy

TRANSACTIONS_A_SHRED = 5


async def main() -> None:
    """Says `{"port": …}`, and serves until its standard input ends."""
    anvil_url, spread_s = sys.argv[1:]
    proxy = RpcProxy(anvil_url, shred_s=float(spread_s), txs_per_shred=TRANSACTIONS_A_SHRED)
    async with proxy:
        print(json.dumps({"port": urlsplit(proxy.rpc_url).port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
