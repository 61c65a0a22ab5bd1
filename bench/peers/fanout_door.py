"""Our Socket.IO door alone over a real Redis: it hears ticks and passes them on.

python -m bench.peers.fanout_door <redis://…> <namespace>
"""

import sys

from bench.door import EveryMarket
from bench.peers.python_peer import run
from bench.peers.socketio_door import opened
from storage import valkey
from storage.ticks import Ticks


async def serve() -> int:
    """Listen on a free port of loopback."""
    redis_url, namespace = sys.argv[1:]
    return await opened(EveryMarket(), Ticks(valkey.connect(redis_url), namespace=namespace))


if __name__ == "__main__":
    run(serve)
