"""Work on a schedule: rolling figures, old candles, and what no token came of."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from actors.analyst import Analyst
from actors.cleaner import Cleaner
from actors.host import Context, Role
from deploy.adapters.log import log_of
from deploy.adapters.media import media_of
from deploy.adapters.mongo import mongo_of
from deploy.adapters.postgres import pool_of
from deploy.roles import RECORDER_NICE
from engine.control import Drain, StatusWanted
from storage.analytics import Analytics
from storage.documents import Documents
from storage.launched import Launched
from storage.thinning import DAY_S, Thinning


async def build(context: Context) -> Role:
    """Ready when its stores have answered."""
    os.nice(RECORDER_NICE)
    settings, log = context.settings, log_of(context)
    pool, chain_id = await pool_of(settings, size=2), settings.rise.chain_id
    figures = Analyst(
        figures=Analytics(pool, chain_id),
        candles=Thinning(
            pool,
            chain_id,
            minutes_s=settings.actors.candle_minutes_days * DAY_S,
            hours_s=settings.actors.candle_hours_days * DAY_S,
        ),
        interval_s=settings.actors.analytics_interval_s,
        log=log,
    )
    documents = Documents(mongo_of(settings))
    await documents.prepare()
    cleaner = Cleaner(
        launched=Launched(pool, settings.rise.chain_id),
        documents=documents,
        media=media_of(settings),
        document_kept_s=settings.media.document_kept_s,
        image_kept_s=settings.media.image_kept_s,
        log=log,
    )

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(figures.run())
            tasks.create_task(cleaner.run())

    both = (figures.handlers, cleaner.handlers)

    def status(message: StatusWanted) -> dict[str, Any]:
        return {name: value for one in both for name, value in one[StatusWanted](message).items()}

    def drain(message: Drain) -> None:
        for one in both:
            one[Drain](message)

    handlers: dict[type, Callable[[Any], Any]] = {
        **figures.handlers,
        StatusWanted: status,
        Drain: drain,
    }
    return Role(handlers=handlers, run=run, log=log)
