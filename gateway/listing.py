"""Rows of tokens with their live markets and their documents, in one call to each."""

import asyncio
from collections.abc import Sequence
from typing import Any

from engine.rows import TokenRecord
from engine.text import hex_of
from gateway import metadata, quotes, view
from gateway.context import Context


async def with_markets(context: Context, records: Sequence[TokenRecord]) -> list[dict[str, Any]]:
    """Each token as lists show it: its market is live, or says why it is not."""
    if not records:
        return []
    found, documents, usd = await asyncio.gather(
        quotes.views(context, [record.token for record in records]),
        context.documents.metadata([record.metadata_hash for record in records]),
        context.usd.price(),
    )
    return [
        view.token_data(
            record,
            market,
            metadata.of(record, documents.get(hex_of(record.metadata_hash))),
            usd=usd,
        )
        for record, market in zip(records, found, strict=True)
    ]
