"""/api/bridge: laid out as the seed has it; not there yet, and says so."""

from typing import NoReturn

from aiohttp import web

from engine.errors import CallerError


async def deposit(_request: web.Request) -> web.Response:
    """From Sepolia to RISE."""
    _not_yet()


async def withdraw(_request: web.Request) -> web.Response:
    """From RISE to Sepolia."""
    _not_yet()


async def status(_request: web.Request) -> web.Response:
    """What became of a transfer."""
    _not_yet()


async def history(_request: web.Request) -> web.Response:
    """A wallet's transfers."""
    _not_yet()


def _not_yet() -> NoReturn:
    raise CallerError("not_implemented", "Expected a later version: the bridge is not there yet")
