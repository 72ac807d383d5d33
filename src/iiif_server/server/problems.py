"""Error responses: the HTTP status of each error, and JSON with its message (Problem)."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from iiif_server import errors
from iiif_server.server.respond import JSON, Answer

STATUS: dict[type[errors.IiifServerError], int] = {
    errors.RequestRefusedError: 400,
    errors.UnauthenticatedError: 401,
    errors.SignatureRefusedError: 403,
    errors.DownloadRefusedError: 403,
    errors.NotFoundError: 404,
    errors.NotAcceptableError: 406,
    errors.ContentRefusedError: 413,
    errors.ImageTooLargeError: 413,
    errors.OriginalTooLargeError: 413,
    errors.TargetTooLongError: 414,
    errors.UnsupportedOriginalError: 415,
    errors.OriginalRefusedError: 422,
    errors.HeadersTooLargeError: 431,
    errors.NotNowError: 503,
    errors.OriginalChangedError: 503,
    errors.RenderTimedOutError: 503,
    errors.OriginalTooComplexError: 413,
    errors.TooMuchMemoryError: 413,
    errors.OutOfRoomError: 503,
    errors.RenderFailedError: 500,
    errors.SourceBusyError: 503,
    errors.NoSpaceForOriginalError: 503,
    errors.SourceTimedOutError: 504,
    errors.SourceUnavailableError: 502,
    errors.NotBundledError: 503,
}
"""HTTP status of each error; other errors have the status of their nearest base class."""

_CHALLENGES: dict[type[errors.IiifServerError], dict[str, str]] = {
    errors.UnauthenticatedError: {"WWW-Authenticate": 'Bearer realm="iiif-server"'}
}
"""Further header fields that RFC 9110 requires (401: 11.6.1)."""

RETRY_AFTER_SECONDS = {
    errors.OriginalChangedError: 1,
    errors.SourceBusyError: 5,
    errors.NoSpaceForOriginalError: 60,
    errors.RenderTimedOutError: 60,
    errors.OutOfRoomError: 10,
}

_ENCODED_TWICE = re.compile(rb"%25([0-9A-Fa-f]{2})")

logger = logging.getLogger("iiif_server")


class Problem(BaseModel):
    """Content of an error response."""

    error: str
    """Message: what was wrong, and what would work."""


DESCRIPTIONS = {
    400: "A parameter or the identifier is malformed, or the size or region is not possible.",
    401: "The token is missing or wrong.",
    403: "The URL needs a valid signature, or originals of this type are not offered.",
    404: "There is no such type or image.",
    405: "The method is not allowed; `Allow` has those that are.",
    406: "The `Accept` header excludes every representation.",
    412: "The original is not in the state that the request wants.",
    413: "The original or the image is too large; or the request has content.",
    414: "The URL is too long.",
    415: "The original is not an image of a supported format.",
    416: "The original has no bytes in the range.",
    422: "The original is damaged.",
    431: "The request has too many header fields, or too long ones.",
    500: "The image could not be rendered.",
    502: "The upstream server of the original failed.",
    503: "Not now: retry later.",
    504: "The upstream server of the original timed out.",
}
"""Description of each error status, for the OpenAPI document."""


def _group(first: int, schema: dict[str, Any]) -> dict[str, Any]:
    """One OpenAPI response for all errors of a class, as 400 to 499."""
    lines = [
        f"- {status}: {text}"
        for status, text in DESCRIPTIONS.items()
        if first <= status < first + 100
    ]
    return {"description": "\n".join(lines), **schema}


_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

DOCUMENTED: dict[int | str, dict[str, Any]] = {
    # A model costs each route time at every start, so only one response declares it.
    "4XX": _group(400, {"model": Problem}),
    "5XX": _group(500, {"content": _PROBLEM}),
}
"""OpenAPI responses of all errors: one for 4XX and one for 5XX, which have the same content."""
DOCUMENTED_PAGES: dict[int | str, dict[str, Any]] = {
    "4XX": _group(400, {"content": {"text/html": {"schema": {"type": "string"}}}}),
    "5XX": _group(500, {"content": {"text/html": {"schema": {"type": "string"}}}}),
}
"""OpenAPI responses of all errors on HTML pages."""


def status_of(error: errors.IiifServerError) -> int:
    """HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, message: str, extra: Mapping[str, str] | None = None) -> Answer:
    """Error response in JSON, which no cache may store."""
    content = json.dumps({"error": message}, ensure_ascii=False, separators=(",", ":"))
    return Answer(
        content.encode("utf-8", "backslashreplace"),
        JSON,
        status,
        cache_control="no-store",
        extra=extra or {},
    )


def install(app: FastAPI) -> None:
    """Make the app respond to every error with a problem."""
    app.add_exception_handler(errors.IiifServerError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


def problem_of(error: errors.IiifServerError, about: str | None = None, hint: str = "") -> Answer:
    """Response to a request that raised one of this server's errors.

    `about` is the identifier with the error, if the request has several; `hint` is appended to the
    message.
    """
    headers = dict(_CHALLENGES.get(type(error), {}))
    seconds = RETRY_AFTER_SECONDS.get(type(error))
    if isinstance(error, errors.NotNowError):
        seconds = error.retry_after
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    message = str(error) if about is None else f"About {errors.shown(about)}: {error}"
    return problem(status_of(error), f"{message}{hint}", headers)


async def _on_error(request: Request, error: Exception) -> Answer:
    if not isinstance(error, errors.IiifServerError):  # pragma: no cover - Starlette's typing
        raise error
    path = request.scope.get("raw_path") or b""
    return problem_of(error, hint=_hint(path) if isinstance(error, errors.NotFoundError) else "")


def _hint(path: bytes) -> str:
    """Hint for a path that is percent-encoded twice; an empty string for other paths."""
    twice = _ENCODED_TWICE.search(path)
    if twice is None:
        return ""
    return (
        f" The URL contains {twice[0].decode()}, which is %{twice[1].decode()} percent-encoded "
        "once more: does a proxy encode URLs again?"
    )


async def _on_invalid_request(_: Request, error: Exception) -> Answer:
    if not isinstance(error, RequestValidationError):  # pragma: no cover - Starlette's typing
        raise error
    parts = [f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()]
    return problem(400, f"Invalid request: {'; '.join(parts)}.")


async def _on_http_error(_: Request, error: Exception) -> Answer:
    if not isinstance(error, HTTPException):  # pragma: no cover - Starlette's typing
        raise error
    message = _HTTP_MESSAGES.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if "Allow" in headers:
        return not_allowed(_allowed(headers["Allow"]))
    return problem(error.status_code, message, headers)


def not_allowed(methods: str) -> Answer:
    """405 response to a request with another method; the request content is not read."""
    message = f"This URL answers {' and '.join(methods.rsplit(', ', 1))} only."
    return problem(405, message, {"Allow": methods, "Connection": "close"})


def _allowed(methods: str) -> str:
    """Methods of a route, with HEAD and OPTIONS, which the edge handles."""
    return methods.replace("GET", "GET, HEAD") + ", OPTIONS"


_HTTP_MESSAGES = {404: "No page has this URL; /docs lists the URLs of this server."}


def unexpected(error: Exception) -> Answer:
    """500 response to an unexpected exception, which is logged with its traceback."""
    logger.error("unexpected error", exc_info=error)
    return problem(500, "The server failed to answer this request; its log says why.")
