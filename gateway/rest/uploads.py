"""Images: taken in, and given out under the name of their content."""

import re

from aiohttp import web

from engine.errors import CallerError, RiseCurveError
from gateway import images, links
from gateway.context import context_of, identity_of
from gateway.errors import json_response, success
from gateway.uploads import read_file

# An image that somebody opens by itself runs nothing and reaches nothing.
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Content-Disposition": "inline",
}
_NAME = re.compile(links.MEDIA_NAME)


async def image(request: web.Request) -> web.Response:
    """Keeps an image, and answers the link that goes into `imageUrl` of a launch.

    The body is the image, or a form with one file. PNG, JPEG, WebP or the first picture of a
    GIF, by its content and not by its name; it is written anew with its pixels alone. An image
    that no launched token and no profile names within some days is removed.
    """
    context, wallet = context_of(request), identity_of(request).address
    outcome = "failed"
    try:
        with context.images.place(wallet):
            raw = await read_file(request, within_s=context.settings.upload_timeout_s)
            kept = await context.images.keep(raw)
        outcome = "kept"
    except RiseCurveError as error:
        outcome = error.code
        raise
    finally:
        context.metrics.uploads.labels(outcome).inc()
    large, small = (f"{context.settings.public_url}{links.MEDIA_PATH}{one}" for one in kept.names)
    data = {"imageUrl": large, "smallUrl": small, "width": kept.width, "height": kept.height}
    return json_response(success(data | {"bytes": len(kept.large)}))


async def file(request: web.Request) -> web.StreamResponse:
    """An image that was kept."""
    name = request.match_info["name"]
    if _NAME.fullmatch(name) is None:
        raise CallerError("not_found", "Expected the name of an image")
    headers = _HEADERS | {"ETag": f'"{name}"'}
    # What has this name is always the same, so whoever has it needs no look at the store.
    known = request.headers.get("If-None-Match", "")
    if known.strip() == "*" or f'"{name}"' in {
        one.strip().removeprefix("W/") for one in known.split(",")
    }:
        return web.Response(status=304, headers=headers)
    content = await context_of(request).media.get(name)
    if content is None:
        raise CallerError("not_found", "Expected an image that is kept here")
    kind = images.CONTENT_TYPES[name.rpartition(".")[2]]
    return web.Response(body=content, headers=headers | {"Content-Type": kind})
