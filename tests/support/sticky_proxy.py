"""A sticky HTTP proxy: who has its cookie comes to the gateway that the cookie names, whoever
has none to the next one in turn, and gets the cookie with the first answer.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence

from tests.support.tcp_proxy import TcpProxy

COOKIE = "door"
HEAD_END = b"\r\n\r\n"
_GIVEN = re.compile(rb"^cookie:.*\b" + COOKIE.encode() + rb"=(\d+)", re.IGNORECASE | re.MULTILINE)


class StickyProxy(TcpProxy):
    """`async with StickyProxy([port, …]) as proxy`. With `is_sticky` False the cookie is not
    looked at. A connection stays with one gateway: requests after the first are not read.
    """

    def __init__(self, target_ports: Sequence[int], *, is_sticky: bool = True) -> None:
        super().__init__(target_ports[0])
        self._ports = target_ports
        self._is_sticky = is_sticky
        self._turn = 0
        self.by_port: Counter[int] = Counter()
        """Connections that came to each gateway."""

    @property
    def url(self) -> str:
        """By name: a cookie of an address is kept by few clients."""
        return f"http://localhost:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(HEAD_END)
        given = _GIVEN.search(head) if self._is_sticky else None
        if given is None:
            self._turn += 1
        index = int(given[1]) if given else self._turn % len(self._ports)
        self.by_port[self._ports[index]] += 1
        there, out = await asyncio.open_connection("127.0.0.1", self._ports[index])
        out.write(head)
        async with asyncio.TaskGroup() as pipes:
            pipes.create_task(self._pipe(reader, out))
            if given is None:
                answer = await there.readuntil(HEAD_END)
                cookie = f"\r\nSet-Cookie: {COOKIE}={index}; Path=/".encode()
                writer.write(answer.removesuffix(HEAD_END) + cookie + HEAD_END)
            pipes.create_task(self._pipe(there, writer))
