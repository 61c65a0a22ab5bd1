"""Plain python-socketio over aiohttp, as its documentation has it, with our quote in memory.

python -m bench.peers.plain_socketio <markets.json>
"""

import sys
from typing import Any

import socketio
from aiohttp import web

from bench.peers.python_peer import Markets, markets_of, run
from engine.buckets import bucket_of
from engine.messages import Refusal
from engine.quoting import answer
from gateway import view
from gateway.errors import failure, public, success
from gateway.models import QuoteBody
from gateway.quotes import quote_request


def quoted(markets: Markets, message: Any) -> dict[str, Any]:
    """The acknowledgement of `quote`, by the same steps as at our door."""
    try:
        request = quote_request(QuoteBody.model_validate(message))
    except ValueError as error:
        known = public(error)
        assert known is not None, "Expected an error of validation"
        return failure(known.code, known.message)
    market, as_of = markets[request.token]
    reply = answer(market, request, as_of=as_of, bucket=bucket_of(request.token))
    if isinstance(reply, Refusal):
        return failure(reply.code, reply.message)
    return success(view.quote_data(reply))


async def serve() -> int:
    """Listen on a free port of loopback."""
    markets = markets_of(sys.argv[1])
    server = socketio.AsyncServer(async_mode="aiohttp")

    async def quote(sid: str, message: Any) -> dict[str, Any]:
        return quoted(markets, message)

    server.on("quote", quote)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    return int(runner.addresses[0][1])


if __name__ == "__main__":
    run(serve)
