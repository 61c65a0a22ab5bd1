"""What the load generator can do at most: a picows server that answers each frame with one
finished text, of the size of a quote.

    python -m bench.peers.echo
"""

import socket

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from bench.peers.python_peer import run
from gateway.stream_protocol import framed

SIZE = 900
_HEAD = b'{"v":1,"op":"quote","id":'
_TAIL = b',"ok":true,"data":"' + b"x" * SIZE + b'"}'


class Echo(WSListener):
    """Reads the id, as it stands behind the head, and nothing else."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One answer a frame."""
        if frame.msg_type != WSMsgType.TEXT:
            transport.disconnect()
            return
        asked = frame.get_payload_as_bytes()
        id = asked[len(_HEAD) : asked.index(b",", len(_HEAD))]
        transport.underlying_transport.write(framed(_HEAD + id + _TAIL))


async def serve() -> int:
    """Listen on a free port of loopback."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    listening.setblocking(False)
    await ws_create_server(lambda _: Echo(), sock=listening)
    return int(listening.getsockname()[1])


if __name__ == "__main__":
    run(serve)
