"""Quotes and reads over REST for those who prefer Locust.

locust -f bench/locustfile.py --host http://127.0.0.1:3000
"""

import random

from locust import HttpUser, between, task

ETH_MIN, ETH_MAX = 10**13, 10**15


class Trader(HttpUser):
    """Looks at the list now and then, at one token often, and asks for quotes most of all."""

    wait_time = between(0.01, 0.1)

    def on_start(self) -> None:
        """The tokens of the deployment."""
        items = self.client.get("/api/tokens?limit=100", name="/api/tokens").json()["data"]["items"]
        self.tokens = [one["address"] for one in items]

    @task(8)
    def quote(self) -> None:
        """A buy, exact-in."""
        if not self.tokens:
            return
        body = {
            "tokenAddress": random.choice(self.tokens),
            "type": "buy",
            "amount": f"{random.randrange(ETH_MIN, ETH_MAX) / 10**18:.18f}",
        }
        self.client.post("/api/trading/quote", json=body)

    @task(2)
    def token(self) -> None:
        """One token's page."""
        if self.tokens:
            address = random.choice(self.tokens)
            self.client.get(f"/api/tokens/{address}", name="/api/tokens/:address")

    @task(1)
    def listing(self) -> None:
        """The newest tokens."""
        self.on_start()
