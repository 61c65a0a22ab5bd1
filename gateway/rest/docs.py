"""/openapi.json, /asyncapi.json, and /docs: Swagger UI from the npm package, with its files
served by us.
"""

from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from engine.errors import CallerError

DOCUMENT: "web.AppKey[Any]" = web.AppKey("openapi", object)
"""What makes the OpenAPI document; it reads the table of routes that this file is in."""

REALTIME: "web.AppKey[Any]" = web.AppKey("asyncapi", object)
"""What makes the AsyncAPI document."""

FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
PACKAGE = Path(__file__).parents[2] / "node_modules" / "swagger-ui-dist"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>risecurve API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });\n'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


async def document(request: web.Request) -> web.Response:
    """The OpenAPI document of this API."""
    body = orjson.dumps(request.app[DOCUMENT]())
    return web.Response(body=body, content_type="application/json")


async def realtime(request: web.Request) -> web.Response:
    """The AsyncAPI document of what is pushed."""
    body = orjson.dumps(request.app[REALTIME]())
    return web.Response(body=body, content_type="application/json")


async def page(_request: web.Request) -> web.Response:
    """Swagger UI on that document."""
    return web.Response(
        text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY}
    )


async def file(request: web.Request) -> web.StreamResponse:
    """One of the page's files."""
    name = request.match_info["file"]
    if name == "start.js":
        return web.Response(text=_START, content_type="text/javascript")
    kind, path = FILES.get(name), PACKAGE / name
    if kind is None or not path.is_file():
        raise CallerError("not_found", "Expected a file of the page")
    return web.FileResponse(path, headers={"Content-Type": kind})
