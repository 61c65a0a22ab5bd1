"""The demo on a running system: with the view or without, and its verdict."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from deploy.demo.run import Demo, Plan, passed, summary
from deploy.demo.stores import Stored, stored
from deploy.demo.view import render
from deploy.devnet import Say
from deploy.session import Session
from storage import documents, postgres
from storage.people import People

if TYPE_CHECKING:
    from deploy.commands import DemoPlan

FRAMES_PER_S = 4


async def run(
    running: Session, plan: "DemoPlan", *, say: Say, interrupted: asyncio.Event
) -> tuple[dict[str, Any], bool]:
    """(what `--json` prints, whether everything was as it should be)."""
    demo = Demo(
        api_url=running.file.api_url,
        chain=running.settings.rise,
        plan=Plan(plan.trades, plan.tokens, plan.traders, plan.seed, plan.graduate),
        say=say,
    )
    try:
        ended = await _trade(demo, running, view=plan.view, interrupted=interrupted)
        kept = await _stored(demo, running)
    finally:
        await demo.close()
    for mismatch in demo.tally.mismatches:
        say(f"MISMATCH {mismatch}")
    ok = (
        passed(demo.tally, kept, graduate=plan.graduate)
        if plan.trades is not None and ended
        else not demo.tally.mismatches
    )
    if not ok:
        say(f"missing {kept.missing}, doubled {kept.doubled}, gaps {demo.tally.tick_gaps}")
        for error in list(demo.tally.errors)[-5:]:
            say(f"last errors: {error}")
    return summary(demo.tally, kept), ok


def sentence(data: dict[str, Any], *, ok: bool) -> str:
    """The verdict for humans."""
    return (
        f"{data['trades']} trades on {data['tokens']} tokens, {data['quotes_checked']} quotes"
        f" checked, {data['quote_mismatches']} differ; {data['postgres_trades']} trades in"
        f" PostgreSQL, {data['mongo_users']} users in MongoDB."
        + (f" {data['graduated']} tokens graduated." if data["graduated"] else "")
        + ("" if ok else " Something is missing or wrong.")
    )


async def _trade(demo: Demo, running: Session, *, view: bool, interrupted: asyncio.Event) -> bool:
    work = asyncio.create_task(demo.run())
    stop = asyncio.create_task(interrupted.wait())
    shown = asyncio.create_task(_show(demo, running)) if view else None
    done, _ = await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stop, shown, *(() if work in done else (work,))):
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    if work in done:
        work.result()
    return work in done


async def _show(demo: Demo, running: Session) -> None:
    settings = running.settings
    headline = f"RISE devnet · chain {settings.rise.chain_id} · {settings.actors.shards} shards"
    await demo.trading.wait()  # what is said before goes above the view

    def frame() -> Any:
        return render(demo.tally, url=running.file.api_url, headline=headline)

    with Live(frame(), console=Console(), auto_refresh=False, transient=False) as live:
        while True:
            await asyncio.sleep(1 / FRAMES_PER_S)
            live.update(frame(), refresh=True)


async def _stored(demo: Demo, running: Session) -> Stored:
    stores = running.settings.stores
    pool = await postgres.connect(stores.database_url, size=1)
    mongo = documents.connect(stores.mongodb_url, timeout_s=stores.timeout_s)
    try:
        return await stored(
            pool,
            People(documents.database(mongo)),
            chain_id=running.settings.rise.chain_id,
            trade_hashes=demo.tally.trade_hashes,
            foreign_hashes=demo.tally.foreign_hashes,
        )
    finally:
        await pool.close()
        await mongo.close()
