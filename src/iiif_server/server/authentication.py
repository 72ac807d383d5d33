"""Authentication by bearer token, for the admin API and metrics."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from iiif_server.errors import UnauthenticatedError
from iiif_server.server.credentials import Credentials
from iiif_server.telemetry.events import AccessRefused, Observer


def bearer(name: str, description: str) -> HTTPBearer:
    """FastAPI dependency that reads the token of a request, described in OpenAPI."""
    return HTTPBearer(scheme_name=name, description=description, auto_error=False)


def require_token(
    request: Request,
    given: HTTPAuthorizationCredentials | None,
    accepted: Iterable[Credentials],
    observer: Observer,
) -> None:
    """Require one of the accepted tokens in `Authorization`; cookies and query do not count.

    Raises UnauthenticatedError. Reports a wrong token to the observer (AccessRefused).
    """
    if given is not None:
        # All are compared, so that the time does not show which one matches.
        matches = [credentials.match(given.credentials) for credentials in accepted]
        if any(matches):
            return
    if request.headers.get("authorization") is not None:
        # A request without `Authorization` is a visitor, not an attempt to guess a token.
        observer(AccessRefused(request.client.host if request.client else ""))
    raise UnauthenticatedError(
        "This URL is for those who run the server: it needs their token, as in "
        "Authorization: Bearer TOKEN."
    )
