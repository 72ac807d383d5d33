"""ASGI application: `create_app(settings)` adds routes, middleware and error handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI

from iiif_server.composition.services import open_services
from iiif_server.iiif.versions import V2, V3
from iiif_server.routes import admin, operations, pages, presentation
from iiif_server.routes.downloads import archives, downloads_router
from iiif_server.routes.image_api import base_uri_router, image_api_router
from iiif_server.routes.metrics import PATH as METRICS_PATH
from iiif_server.routes.metrics import metrics_router, scraping
from iiif_server.server import problems
from iiif_server.server.edge import EdgeMiddleware
from iiif_server.server.fast_path import FastPath
from iiif_server.server.readiness import Draining
from iiif_server.server.respond import JsonAnswer
from iiif_server.settings import Settings, load_settings
from iiif_server.sources.guard import check_guard
from iiif_server.telemetry.events import Observer
from iiif_server.telemetry.logs import log_event
from iiif_server.telemetry.metrics import Metrics

_DESCRIPTION = """Images by the [IIIF Image API](https://iiif.io/api/image/3.0/), versions 3.0 and
2.1: `/{identifier}/info.json` describes an image, and
`/{identifier}/{region}/{size}/{rotation}/{quality}.{format}` is the image or a part of it."""

_NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""Turns off the telemetry of FastAPI, which would send complete paths, with signatures.

The package `telemetry` replaces it.
"""


_GROUPS = [
    {
        "name": "Images",
        "description": "The URLs to publish: the Image API in version 3.0, and info.json in 2.1 if "
        "`Accept` requests it.",
    },
    {
        "name": "Presentation",
        "description": "Manifests and collections, for Mirador, Universal Viewer and the like: "
        "of one image, of several, and of folders (Presentation API 3.0).",
    },
    {
        "name": "Downloads",
        "description": "Originals as they are, where their type offers them; thumbnails and "
        "previews.",
    },
    {
        "name": "Pages",
        "description": "Web pages: a viewer of each image, and one for an iframe. `/` is the "
        "gallery.",
    },
    {
        "name": "Image API 3.0",
        "description": "Image API 3.0 at URLs that contain the version.",
    },
    {
        "name": "Image API 2.1",
        "description": "For viewers of the older version, which writes sizes in another way.",
    },
    {
        "name": "Operations",
        "description": "Health, readiness and capabilities.",
    },
]
"""Tags of the OpenAPI document, in the order in which /docs shows them."""
_ADMINISTRATION = {
    "name": "Administration",
    "description": "Admin API: requires the token of `[admin] token`.",
}


def create_app(
    settings: Settings | None = None,
    observer: Observer = log_event,
    metrics: Metrics | None = None,
    draining: Draining | None = None,
) -> FastAPI:
    """Build the ASGI application; without `settings`, load them from the environment.

    `metrics` and `draining` belong to the process: they outlive an application when settings are
    reloaded. Raises ConfigurationError if the settings are invalid.
    """
    chosen = settings or load_settings()
    closed = chosen.admin.token is None
    app = FastAPI(
        title="iiif-server",
        version="1",  # of this document; the version of the server is not public
        description=_DESCRIPTION,
        lifespan=services_lifespan,
        redirect_slashes=False,
        openapi_tags=_GROUPS if closed else [*_GROUPS, _ADMINISTRATION],
        # The routes of `pages` replace these, so that `respond` sends them:
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonAnswer,
        telemetry=_NO_TELEMETRY,
    )
    app.state.composition = partial(open_services, chosen, observer, metrics or Metrics(), draining)
    problems.install(app)
    administrative = _include_routers(app, chosen)
    fast_path = FastPath(chosen.root_path, administrative)
    app.state.direct = partial(fast_path.direct, app)
    app.add_middleware(EdgeMiddleware, fast_path=fast_path)
    return app


@asynccontextmanager
async def services_lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Lifespan of an application of `create_app`: opens its services, and closes them at the end.

    An application that mounts this one must enter it in its own lifespan, because Starlette does
    not run the lifespan of mounted applications.
    """
    await check_guard()
    async with app.state.composition() as services:
        app.state.services = services
        yield


def _include_routers(app: FastAPI, settings: Settings) -> tuple[str, ...]:
    """Add all routes, in the order in which they are matched; return the administrative paths."""
    app.include_router(pages.router)
    app.include_router(operations.router)
    administrative = []
    if settings.admin.token is not None:
        administrative.append(admin.PREFIX)
        app.include_router(admin.admin_router())
    allowed = scraping(settings.metrics, settings.admin.token)
    if allowed.possible:
        administrative.append(METRICS_PATH)
        app.include_router(metrics_router(allowed))
    app.include_router(archives)
    app.include_router(presentation.documents)
    for version, prefix in ((V3, V3.path), (V2, V2.path), (V3, "")):
        app.include_router(presentation.presentation_router(version, prefix))
        app.include_router(downloads_router(version, prefix))
    for version, prefix in ((V3, V3.path), (V2, V2.path), (V3, "")):
        app.include_router(image_api_router(version, prefix))
        app.include_router(pages.viewer_router(version, prefix))
        app.include_router(base_uri_router(version, prefix))
    return tuple(administrative)
