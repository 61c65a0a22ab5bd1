"""Quotes asked at a steady pace by several clients, whether or not earlier ones were answered:
how long a token's quotes paused, and which were not answered at all.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from bench.answers import Answers
from deploy.demo.client import Client, new_account

PACE_S = 0.05
CLIENTS = 3


class Pauses(Answers):
    """Asks at the REST doors until `stop`."""

    def __init__(self, apis: Sequence[str], chain_id: int, tokens: Sequence[str]) -> None:
        self._clients = [
            Client(apis[index % len(apis)], new_account(), chain_id) for index in range(CLIENTS)
        ]
        super().__init__(tokens)
        self._main: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self.asked = 0
        self.answered = 0
        self.late_s = 0.0
        self.codes: Counter[str] = Counter()

    async def start(self) -> None:
        self.begin()
        self._main = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """What is under way is still answered."""
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        await asyncio.gather(*self._asking)
        for client in self._clients:
            await client.close()

    async def _run(self) -> None:
        turn = 0
        due = time.monotonic()
        while True:
            for token in self._tokens:
                client = self._clients[turn % len(self._clients)]
                turn += 1
                task = asyncio.create_task(self._ask(client, token))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            due += PACE_S
            self.late_s = max(self.late_s, time.monotonic() - due)
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    async def _ask(self, client: Client, token: str) -> None:
        self.asked += 1
        body = {"tokenAddress": token, "type": "buy", "amount": "0.001"}
        try:
            quote = await client.post("/api/trading/quote", **body)
        except Exception as error:
            self.codes[str(getattr(error, "code", type(error).__name__))] += 1
            return
        self.answered += 1
        self.heard(token, quote["asOf"]["version"][0], time.monotonic())
