"""Answers to image calls: images and their information."""

import json
from hashlib import blake2b

from starlette.requests import ClientDisconnect, Request

from iiif_server.iiif.formats import FACTS, Format
from iiif_server.iiif.information import image_information
from iiif_server.iiif.request import canonical_parameters
from iiif_server.images.body import Body
from iiif_server.images.derivatives import Resolved
from iiif_server.images.registry import Image
from iiif_server.server.call import ImageCall
from iiif_server.server.conditions import is_not_modified
from iiif_server.server.delivery import by_proxy
from iiif_server.server.disconnect import cancel_on_disconnect
from iiif_server.server.headers import image_link, profile_link
from iiif_server.server.negotiation import LD_JSON, Representation
from iiif_server.server.respond import Answer
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages

_CLIENT_CLOSED_REQUEST = 499
"""Stands for a response that nobody gets, in logs and metrics."""


async def make(request: Request, services: Services, call: ImageCall) -> Answer:
    """The answer to an image call; raises what refuses it."""
    if call.request is None:
        return await _information(services, call)
    known = services.images.known(call.identifier)
    if known is not None:
        answer = await _ready_or_none(request, services, call, known)
        if answer is not None:
            return answer
    stages = Stages()
    try:
        async with (
            cancel_on_disconnect(request),
            services.images.hold(call.identifier, stages) as image,
        ):
            return await _image(request, services, call, image, stages)
    except ClientDisconnect:
        return Answer(status_code=_CLIENT_CLOSED_REQUEST)


def image_fields(
    services: Services, call: ImageCall, resolved: Resolved, canonical: str, body: bytes | Body
) -> Answer:
    """The answer that is an image, or that may be a 304 of it if its body is empty."""
    format_ = resolved.rendition.format
    extra = {"Link": image_link(call.base_uri, canonical, call.version)}
    if format_ is Format.PDF:
        extra["Content-Disposition"] = "attachment"  # viewers of PDF run scripts and forms
    repeatable = services.may_repeat(call.permission)
    return Answer(
        body,
        FACTS[format_].media_type,
        cache_control=str(services.caching(call.permission)),
        tag=resolved.key.digest,
        weak=not resolved.repeatable,
        modified=resolved.original.modified,
        extra=extra,
        stages=resolved.stages,
        depends_on=services.images.known(call.identifier) if repeatable else None,
    )


async def _ready_or_none(
    request: Request, services: Services, call: ImageCall, image: Image
) -> Answer | None:
    """The answer for which the original need not be open."""
    assert call.request is not None
    resolved = services.derivatives.resolve(image, call.request, Stages())
    canonical = _canonical(services, call, resolved)
    redirect = _redirect(services, call, canonical)
    if redirect is not None:
        return redirect
    if is_not_modified(request.headers, resolved.key.digest, resolved.original.modified):
        return image_fields(services, call, resolved, canonical, b"")
    if by_proxy(request.scope, services):
        return None
    data = await services.derivatives.ready(resolved)
    return None if data is None else image_fields(services, call, resolved, canonical, data)


async def _image(
    request: Request, services: Services, call: ImageCall, image: Image, stages: Stages
) -> Answer:
    assert call.request is not None
    resolved = services.derivatives.resolve(image, call.request, stages)
    canonical = _canonical(services, call, resolved)
    redirect = _redirect(services, call, canonical)
    if redirect is not None:
        return redirect
    if is_not_modified(request.headers, resolved.key.digest, resolved.original.modified):
        return image_fields(services, call, resolved, canonical, b"")
    body = await services.derivatives.body(resolved, by_path=by_proxy(request.scope, services))
    content = body if body.data is None else body.data
    return image_fields(services, call, resolved, canonical, content)


def _canonical(services: Services, call: ImageCall, resolved: Resolved) -> str:
    facts = resolved.image.facts
    limits = services.limits.of(facts.dimensions)
    return canonical_parameters(resolved.rendition, facts, limits, call.version)


def _redirect(services: Services, call: ImageCall, canonical: str) -> Answer | None:
    """The redirect to the canonical URI, if it is wanted and the call is another one."""
    grant = call.permission.grant
    # A signature for one spelling of a request does not hold for the canonical one.
    one_spelling = grant is not None and grant.exact
    if not services.canonical_redirect or one_spelling or call.parameters == canonical:
        return None
    link = image_link(call.base_uri, canonical, call.version)
    return Answer(
        status_code=303,
        cache_control=str(services.caching(call.permission)),
        extra={"Link": link, "Location": f"{call.base_uri}/{canonical}"},
    )


async def _information(services: Services, call: ImageCall) -> Answer:
    image = await services.images.get(call.identifier)
    chosen = call.representation
    assert chosen is not None
    document = image_information(
        chosen.version,
        call.base_uri,
        image.header.dimensions,
        services.service_description(call.identifier.type, image.header),
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
    """The profile, and for plain JSON the context that JSON-LD would name in its type."""
    version = chosen.version
    context = f'<{version.context}>;rel="http://www.w3.org/ns/json-ld#context";type="{LD_JSON}"'
    return [profile_link(version)] if chosen.linked_data else [context, profile_link(version)]
