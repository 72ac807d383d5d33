"""Who comes in where only those who run the server may: whoever has the token, and nobody else."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from iiif_server.errors import UnauthenticatedError
from iiif_server.server.credentials import Credentials
from iiif_server.telemetry.events import AccessRefused, Observer


def bearer(name: str, description: str) -> HTTPBearer:
    """What finds the token of a request, and describes it in the OpenAPI document."""
    return HTTPBearer(scheme_name=name, description=description, auto_error=False)


def demand(
    request: Request,
    given: HTTPAuthorizationCredentials | None,
    accepted: Iterable[Credentials],
    observer: Observer,
) -> None:
    """Let those in who have one of the tokens; no cookie and no query opens anything.

    Raises UnauthenticatedError for all others, and tells of those who came with a wrong one.
    """
    if given is not None:
        matches = [right.match(given.credentials) for right in accepted]  # all: time tells nothing
        if any(matches):
            return
    if request.headers.get("authorization") is not None:
        # Not so where there is no token at all: that is a visitor, and not a guess.
        observer(AccessRefused(request.client.host if request.client else ""))
    raise UnauthenticatedError(
        "This address is for those who run the server: it needs their token, as in "
        "Authorization: Bearer TOKEN."
    )
