"""Health, readiness, metrics, and what a client needs to know of us."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from engine.errors import RiseCurveError
from engine.limits import (
    BODY_BYTES_MAX,
    CANDLES_MAX,
    IMAGE_BYTES_MAX,
    IMAGE_PIXELS_MAX,
    PAGE_LIMIT_MAX,
    SOCKET_MESSAGE_BYTES_MAX,
    SOCKET_TOPICS_MAX,
    STALE_AFTER_BLOCKS,
    TRANSACTION_GAS_MAX,
)
from engine.settings import ChainSettings
from engine.text import address
from gateway.admission import Budget
from gateway.context import Context, context_of
from gateway.errors import json_response, success, timestamp
from gateway.kept import Kept
from gateway.languages import LANGUAGES

CHECK_TIMEOUT_S = 2.0
READY_KEPT_S = 0.5
ROLES_KEPT_S = 1.0
READY: "web.AppKey[Kept[tuple[bool, dict[str, Any]]]]" = web.AppKey("ready", Kept)
ROLES: "web.AppKey[Kept[dict[str, Any]]]" = web.AppKey("roles", Kept)
"""What strangers may ask for without end costs the roles and stores one question a moment."""


async def healthz(request: web.Request) -> web.Response:
    """The process answers."""
    return json_response(success({"status": "ok"}))


async def readyz(request: web.Request) -> web.Response:
    """Each dependency by name. 503 while no shard answers, else 200, `ok` or `degraded`.

    Any store or the node may be away while quotes go on: then the door stays in the balancer.
    """
    serving, data = await request.app[READY].get()
    body = {"success": serving, "data": data, "timestamp": timestamp()}
    return json_response(body, 200 if serving else 503)


async def readiness(context: Context) -> tuple[bool, dict[str, Any]]:
    """(whether any shard answers, `data` of the answer)."""
    checks: dict[str, Awaitable[Any]] = {
        "postgres": context.reads.ping(),
        "mongodb": context.documents.ping(),
        "redis": context.limiter.ping(Budget("ready", 1_000_000, 1)),
        "rise": context.node.fees(),
    }
    roles, *results = await asyncio.gather(
        _roles(context), *(_check(check) for check in checks.values())
    )
    serving, dependencies = roles[0], roles[1] | dict(zip(checks, results, strict=True))
    whole = all(result["ok"] for result in dependencies.values())
    status = "unready" if not serving else "ok" if whole else "degraded"
    return serving, {"status": status, "dependencies": dependencies}


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text format: this gateway's, and the counters of every role."""
    try:
        roles = await asyncio.wait_for(request.app[ROLES].get(), CHECK_TIMEOUT_S)
    except (TimeoutError, RiseCurveError):
        roles = {}
    own = context_of(request).metrics
    text = own.text() + own.roles(roles)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def config(request: web.Request) -> web.Response:
    """Chains, contracts, links, limits, languages."""
    context = context_of(request)
    settings = context.settings
    return json_response(
        success(
            {
                "publicUrl": settings.public_url,
                "rise": _chain(context.chain),
                "sepolia": None if context.sepolia is None else _chain(context.sepolia),
                "bridge": None if context.bridge is None else context.bridge.config(),
                "limits": {
                    "bodyBytes": BODY_BYTES_MAX,
                    "imageBytes": IMAGE_BYTES_MAX,
                    "imagePixels": IMAGE_PIXELS_MAX,
                    "pageLimit": PAGE_LIMIT_MAX,
                    "candles": CANDLES_MAX,
                    "socketMessageBytes": SOCKET_MESSAGE_BYTES_MAX,
                    "socketTopics": SOCKET_TOPICS_MAX,
                    "transactionGas": TRANSACTION_GAS_MAX,
                    "readsPerMinute": settings.reads_per_minute,
                    "writesPerWindow": settings.writes_per_window,
                    "writeWindowSeconds": settings.write_window_s,
                },
                "languages": list(LANGUAGES),
            }
        )
    )


async def _roles(context: Context) -> tuple[bool, dict[str, dict[str, Any]]]:
    # (whether any shard answers, each role's slot)
    began = time.perf_counter()
    try:
        answers = await asyncio.wait_for(context.markets.status(), CHECK_TIMEOUT_S)
    except Exception as raised:
        return False, {"markets": _result(began, raised)}
    shards = {slot: answer for slot, answer in answers.items() if slot.startswith("shard")}
    served = [slot for slot, answer in shards.items() if _serves(context, answer)]
    error = LookupError() if len(served) < len(shards) or not shards else None
    found = {"markets": _result(began, error)}
    for slot in answers.keys() - shards.keys():
        found[slot] = _result(began, LookupError() if answers[slot] is None else None)
    return bool(served), found


def _serves(context: Context, answer: Any) -> bool:
    # As the shard itself decides: a beat within the stale bound, and something to serve.
    if not isinstance(answer, dict):
        return False
    bound = STALE_AFTER_BLOCKS * context.chain.block_time_s
    return bool(0 <= answer.get("beat_age_s", -1) <= bound and answer.get("buckets", 0) > 0)


async def _check(check: Awaitable[Any]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        await asyncio.wait_for(check, CHECK_TIMEOUT_S)
    except Exception as error:
        return _result(began, error)
    return _result(began, None)


def _result(began: float, error: Exception | None) -> dict[str, Any]:
    # Codes and names of classes only: this page is public.
    name = None
    if error is not None:
        silent = isinstance(error, LookupError)
        name = "no_answer" if silent else getattr(error, "code", None) or type(error).__name__
    took_ms = round((time.perf_counter() - began) * 1e3, 1)
    return {"ok": error is None, "ms": took_ms, "error": name}


def _chain(chain: ChainSettings) -> dict[str, Any]:
    return {
        "chainId": chain.chain_id,
        "launchpads": [
            {
                "address": address(launchpad.address),
                "lens": address(launchpad.lens),
                "firstBlock": launchpad.first_block,
                "version": launchpad.version,
            }
            for launchpad in chain.launchpads
        ],
        "weth": _address(chain.weth),
        "factory": _address(chain.factory),
        "router": _address(chain.router),
        "explorer": chain.explorer_url or None,
        "faucet": chain.faucet_url or None,
    }


def _address(raw: bytes) -> str | None:
    return address(raw) if len(raw) == 20 else None
