"""A bot: watches a token, and at every new price asks what a buy and a sell would give.

python examples/bot.py 0x<token> [--url ws://127.0.0.1:3001/v1] [--eth 0.01] [--quotes 10]
"""

import argparse
import asyncio

from engine.text import base_units, price, units
from gateway.client import Event, Quote, QuoteOf, StreamClient, StreamError


async def watch(url: str, token: str, *, eth_wei: int, quotes: int, api_key: str | None) -> None:
    """Print the token's events, and a round trip for each price, until `quotes` were made."""
    async with StreamClient(url, api_key=api_key) as client:
        async for event in await client.subscribe(f"token:{token}"):
            print(described(event), flush=True)
            if event.event not in ("price", "snapshot"):
                continue
            print(await round_trip(client, token, eth_wei), flush=True)
            quotes -= 1
            if quotes == 0:
                return


async def round_trip(client: StreamClient, token: str, eth_wei: int) -> str:
    """What is left of `eth_wei` after buying and selling again at once."""
    try:
        buy = await client.quote(QuoteOf(token, "buy", eth_wei))
        sell = await client.quote(QuoteOf(token, "sell", buy.amount_out_wei))
    except StreamError as error:
        return f"  no quote: {error}"
    return f"  {shown(buy)}; {shown(sell)}"


def shown(quote: Quote) -> str:
    """One line of a quote."""
    of = quote.as_of
    unit_in, unit_out = ("ETH", "tokens") if quote.side == "buy" else ("tokens", "ETH")
    return (
        f"{quote.side} {units(quote.amount_in_wei)} {unit_in} for"
        f" {units(quote.amount_out_wei)} {unit_out}, at least {units(quote.bound_wei)}"
        f" ({of['status']} {of['blockNumber']})"
    )


def described(event: Event) -> str:
    """One line of an event."""
    lost = " after a gap" if event.gap else ""
    data = event.data or {}
    if event.event in ("price", "snapshot"):
        return f"{event.event}{lost} #{event.seq}: {price(int(data['priceE18']))} ETH a token"
    return f"{event.event} #{event.seq}: {data.get('type', '')} {data.get('txHash', '')}"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("token")
    parser.add_argument("--url", default="ws://127.0.0.1:3001/v1")
    parser.add_argument("--eth", default="0.01", help="how much to buy for, in ETH")
    parser.add_argument("--quotes", type=int, default=0, help="end after so many; 0: never")
    parser.add_argument("--api-key")
    given = parser.parse_args()
    work = watch(
        given.url,
        given.token,
        eth_wei=base_units(given.eth),
        quotes=given.quotes or -1,
        api_key=given.api_key,
    )
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
