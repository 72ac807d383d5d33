"""The answer to a request for pixels, whichever way it came."""

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from iiif_server.iiif.formats import FACTS, Format
from iiif_server.images.derivatives import Resolved
from iiif_server.server.access_log import noted_of
from iiif_server.server.conditions import is_not_modified, validators
from iiif_server.server.delivery import HEAD, by_proxy, deliver
from iiif_server.server.disconnect import while_connected
from iiif_server.server.fast_path import offer
from iiif_server.server.services import Permission, Services

_GONE = 499
"""What stands for an answer that nobody gets, where it shows at all."""


async def image_answer(
    request: Request, provided: Services, permission: Permission, resolved: Resolved, link: str
) -> Response:
    """The image, or that the client has it (304); raises what `Derivatives.body` raises.

    `link` is the header field that says what its canonical address is.
    """
    noted_of(request.scope).stages = resolved.stages
    tag, modified = resolved.key.digest, resolved.original.modified
    headers = {
        "Cache-Control": str(provided.caching(permission)),
        "Link": link,
        **validators(tag, modified, weak=not resolved.repeatable),
    }
    if is_not_modified(request.headers, tag, modified):
        return Response(status_code=304, headers=headers)
    try:
        async with while_connected(request):
            by_path = by_proxy(request.scope, provided)
            body = await provided.derivatives.body(resolved, by_path=by_path)
    except ClientDisconnect:
        return Response(status_code=_GONE)
    headers |= validators(tag, modified, weak=not resolved.repeatable)
    if provided.may_repeat(permission):
        offer(request, resolved.original, tag, modified)
    headers["Server-Timing"] = _server_timing(resolved)
    format_ = resolved.rendition.format
    if format_ is Format.PDF:
        headers["Content-Disposition"] = "attachment"  # viewers of PDF run scripts and forms
    head = request.scope.get(HEAD, False)
    return deliver(body, FACTS[format_].media_type, headers, provided, head=head)


def _server_timing(resolved: Resolved) -> str:
    """What was chosen and how long each stage took, in milliseconds (W3C Server Timing)."""
    stages = resolved.stages.seconds.items()
    times = [f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages]
    return ", ".join([f'engine;desc="{resolved.stages.engine}"', *times])
