"""Responses to image calls: images and image information."""

import json
from hashlib import blake2b

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from iiif_server.iiif.formats import FORMAT_FACTS, Format
from iiif_server.iiif.information import image_information
from iiif_server.iiif.request import ImageRequest, canonical_parameters
from iiif_server.images.body import Body
from iiif_server.images.registry import Image
from iiif_server.images.resolved import Resolved
from iiif_server.server.call import ImageCall
from iiif_server.server.conditions import is_not_modified
from iiif_server.server.delivery import by_proxy
from iiif_server.server.disconnect import cancel_on_disconnect
from iiif_server.server.file_names import content_disposition, name_of_image
from iiif_server.server.headers import image_link, profile_link
from iiif_server.server.negotiation import LD_JSON, Representation
from iiif_server.server.respond import CLIENT_CLOSED_REQUEST, Answer
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages


async def ready(scope: Scope, services: Services, call: ImageCall) -> Answer | None:
    """Answer, if the image is known and its derivative is in the store; else None."""
    image = services.images.known(call.identifier)
    return None if image is None else await _without_original(scope, services, call, image)


async def make(request: Request, services: Services, call: ImageCall) -> Answer:
    """Make the answer to an image call; raises IiifServerError."""
    if call.request is None:
        return await _information(services, call)
    if services.images.known(call.identifier) is None:
        absent = await services.images.absent(call.identifier)
        if absent is not None:
            answer = await _without_original(request.scope, services, call, absent)
            if answer is not None:
                return answer
    try:
        async with cancel_on_disconnect(request):
            return await _image(request, services, call, call.request)
    except ClientDisconnect:
        return Answer(status_code=CLIENT_CLOSED_REQUEST)


def image_answer(
    services: Services, call: ImageCall, resolved: Resolved, body: bytes | Body
) -> Answer:
    """Answer with an image; `body` may be empty if the client has the image already (304)."""
    format_, canonical = resolved.rendition.format, canonical_of(services, call, resolved)
    extra = {
        "Link": image_link(call.base_uri, canonical, call.version),
        "Content-Disposition": _disposition(services, call, resolved),
    }
    # The registry may have a newer version of the original by now.
    image = services.images.remembered(call.identifier)
    current = image is not None and image.original == resolved.original
    repeatable = current and services.may_repeat(call.permission)
    return Answer(
        body,
        FORMAT_FACTS[format_].media_type,
        cache_control=str(services.caching(call.permission)),
        tag=resolved.key.digest,
        weak=not resolved.repeatable,
        modified=resolved.original.modified,
        extra=extra,
        stages=resolved.stages,
        depends_on=image if repeatable else None,
    )


def _disposition(services: Services, call: ImageCall, resolved: Resolved) -> str:
    rendition = resolved.rendition
    whole = rendition.region.covers(resolved.header.dimensions)
    name = name_of_image(services.readable_name(call.identifier), rendition, whole=whole)
    # PDF viewers run scripts and forms.
    attachment = call.attachment or rendition.format is Format.PDF
    return content_disposition(name, attachment=attachment)


async def _image(
    request: Request, services: Services, call: ImageCall, image_request: ImageRequest
) -> Answer:
    stages = Stages()
    async with services.images.hold(call.identifier, stages) as image:
        resolved = services.derivatives.resolve(image, image_request, stages)
        answer = _without_body(request.scope, services, call, resolved)
        if answer is not None:
            return answer
        body = await services.derivatives.body(resolved, by_path=by_proxy(request.scope, services))
        return image_answer(services, call, resolved, body if body.data is None else body.data)


def _without_body(
    scope: Scope, services: Services, call: ImageCall, resolved: Resolved
) -> Answer | None:
    """Answer, if it needs no body: a redirect to the canonical URL, or 304; else None."""
    if services.canonical_redirect and not _is_canonical(services, call, resolved):
        link = image_link(call.base_uri, canonical_of(services, call, resolved), call.version)
        query = "?download" if call.attachment else ""
        location = f"{call.base_uri}/{canonical_of(services, call, resolved)}{query}"
        caching = str(services.caching(call.permission))
        return Answer(
            status_code=303, cache_control=caching, extra={"Link": link, "Location": location}
        )
    if is_not_modified(Headers(scope=scope), resolved.key.digest, resolved.original.modified):
        return image_answer(services, call, resolved, b"")
    return None


async def _without_original(
    scope: Scope, services: Services, call: ImageCall, image: Image
) -> Answer | None:
    """Answer, if it can be made without the file of the original; else None."""
    if call.request is None:
        return None
    resolved = services.derivatives.resolve(image, call.request, Stages())
    answer = _without_body(scope, services, call, resolved)
    if answer is not None:
        return answer
    if resolved.original.absent:
        body = await services.derivatives.without_original(resolved)
        return None if body is None else image_answer(services, call, resolved, body.data or body)
    if by_proxy(scope, services):
        return None
    data = await services.derivatives.ready(resolved)
    return None if data is None else image_answer(services, call, resolved, data)


def _is_canonical(services: Services, call: ImageCall, resolved: Resolved) -> bool:
    """Whether a call has the canonical parameters, or must not be redirected to them.

    A signature for one spelling of a request is not valid for the canonical spelling.
    """
    grant = call.permission.grant
    one_spelling = grant is not None and grant.exact
    return one_spelling or call.parameters == canonical_of(services, call, resolved)


def canonical_of(services: Services, call: ImageCall, resolved: Resolved) -> str:
    """Canonical parameters of a call (Image API 3.0, 4.7)."""
    facts = resolved.image.facts
    limits = services.limits_of(resolved.image)
    return canonical_parameters(resolved.rendition, facts, limits, call.version)


async def _information(services: Services, call: ImageCall) -> Answer:
    image = await services.images.get(call.identifier)
    chosen = call.representation or Representation(call.version, linked_data=False)
    document = image_information(
        chosen.version,
        call.base_uri,
        image.header.dimensions,
        services.service_description(image),
    )
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(
        content,
        chosen.media_type,
        cache_control=str(services.caching(call.permission)),
        tag=blake2b(content, digest_size=16).hexdigest(),
        modified=image.original.modified,
        extra={"Link": ", ".join(_information_links(chosen)), "Vary": "Accept"},
        depends_on=image if services.may_repeat(call.permission) else None,
    )


def _information_links(chosen: Representation) -> list[str]:
    """Profile link, and for plain JSON the link to the JSON-LD context (3.0, 5.1)."""
    version = chosen.version
    context = f'<{version.context}>;rel="http://www.w3.org/ns/json-ld#context";type="{LD_JSON}"'
    return [profile_link(version)] if chosen.linked_data else [context, profile_link(version)]
