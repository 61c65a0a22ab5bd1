"""/api/admin/bridge: what an administrator sees and does of the bridge. Unpausing is the owner's,
on the chains; every deed is in the audit log before it is done.
"""

from aiohttp import web

from gateway import bridging
from gateway.addresses import parse_hash
from gateway.bodies import read_body, read_query
from gateway.errors import json_response, success
from gateway.models import Empty, StuckQuery
from gateway.rest.admin import audited
from gateway.rest.bridge import the_bridge


async def stuck(request: web.Request) -> web.Response:
    """Transfers that were deposited and took no step for a while, oldest first."""
    bridge = the_bridge(request)
    query = read_query(request, StuckQuery)
    found, cursors = await bridge.requests.stuck(older_than_s=query.older_than, limit=query.limit)
    items = [bridging.transfer_data(one, cursors, whole=True) for one in found]
    return json_response(success({"items": items}))


async def retry(request: web.Request) -> web.Response:
    """Has a transfer looked at now, whatever pause it has. Repeatable."""
    bridge = the_bridge(request)
    await read_body(request, Empty)
    id = parse_hash(request.match_info["id"])
    await audited(request, action="bridge_retry", target=id, change={})
    return json_response(success(await bridge.retry(id)))


async def pause(request: web.Request) -> web.Response:
    """Pauses both vaults with the guardian's key. Repeatable; only the owner unpauses."""
    bridge = the_bridge(request)
    await read_body(request, Empty)
    await audited(request, action="bridge_pause", target=b"", change={})
    return json_response(success(await bridge.pause()))
