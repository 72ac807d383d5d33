"""Health, readiness and status of the server."""

import os
import time
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from iiif_server import __version__
from iiif_server.plan.jobs import LibraryReport
from iiif_server.server.services import CurrentServices, Services

router = APIRouter(tags=["Operations"])


class Health(BaseModel):
    """Liveness of the process."""

    status: str


class Ready(BaseModel):
    """Readiness of the server."""

    status: Literal["ready", "unready"]
    reasons: list[str] = []
    """Reasons why the server is not ready; the log has details."""


class Summary(BaseModel):
    """Public status of the server."""

    name: str
    uptime: float
    """Uptime in seconds."""
    engines: dict[str, bool]
    """Available engines; without `jpegtran`, full-resolution JPEG tiles are encoded again."""
    formats: list[str]


class Confinement(BaseModel):
    """Sandbox status of the workers of a pool."""

    limits: bool
    landlock: int
    """Version of the Landlock interface of the kernel; 0: Landlock is unavailable."""
    seccomp: str
    """Version of libseccomp; empty: seccomp is unavailable."""
    barriers: list[str]
    """Restrictions of a worker, also if a hostile file has taken control of it."""


class TurboJpeg(BaseModel):
    """TurboJPEG library (libturbojpeg) that image workers use."""

    path: str
    """Path of the loaded library; empty: none."""
    version: str
    lossless: bool
    """Whether JPEGs are cropped and rotated without loss."""
    partial_decoding: bool
    """Whether a part of a JPEG is decoded without the rest: from version 3.0 on."""
    advice: str
    """Advice for a missing feature; empty if none is missing."""


class Status(BaseModel):
    """Detailed status of the server, for operators."""

    version: str
    process: int
    """Process id of the server process that responds; all numbers are those of this process."""
    uptime: float
    """Uptime in seconds."""
    engines: dict[str, bool]
    """Available engines; without `jpegtran`, full-resolution JPEG tiles are encoded again."""
    turbojpeg: TurboJpeg
    formats: list[str]
    types: dict[str, str]
    """Source of each type."""
    cache: dict[str, Any]
    shared: dict[str, Any] | None
    """Circuit breaker (`state`) and requests of the shared cache; null without `cache.shared`."""
    headers: int
    """Number of image headers in memory."""
    fetching: int
    """Number of originals that are being fetched."""
    fetched: dict[str, int] | None
    """Fetched originals on disk, their bytes, and how many this process has evicted; null without
    `fetch.keep_bytes` and `fetch.keep_files`."""
    pyramids: dict[str, int]
    """Number of pyramid parts that are open, and that are being built."""
    made_by: dict[str, int]
    """Number of derivatives by engine, without those from the cache."""
    pools: dict[str, dict[str, int]]
    confinement: dict[str, Confinement]
    """Sandbox status of the workers of each pool."""
    lanes: dict[str, dict[str, int]]
    """Jobs of the image workers by lane: `tile` (tiles and small images), `build` (parts of
    pyramids), `full` (full-size images and other expensive work) and `background`."""
    quarantined: int
    """Number of originals in quarantine, because workers died over them."""


@router.get("/health", summary="Liveness")
async def health() -> Health:
    """Responds as long as the process runs."""
    return Health(status="ok")


@router.get(
    "/health/ready",
    summary="Readiness",
    responses={503: {"model": Ready, "description": "Not ready, for these reasons"}},
)
async def ready(response: Response, services: CurrentServices) -> Ready:
    """Whether originals are readable, the cache is writable, and worker processes run."""
    reasons = [objection.text for objection in await services.readiness.objections()]
    if reasons:
        response.status_code = 503
        return Ready(status="unready", reasons=reasons)
    return Ready(status="ready")


@router.get("/status", summary="Status")
async def status(services: CurrentServices) -> Summary:
    """Public status of the server: uptime, engines and formats."""
    return Summary(
        name="iiif-server",
        uptime=_uptime(services),
        engines=_engines(services),
        formats=list(services.formats),
    )


def detailed(services: Services) -> Status:
    """Detailed status of the server."""
    return Status(
        version=__version__,
        process=os.getpid(),
        uptime=_uptime(services),
        engines=_engines(services),
        turbojpeg=_turbojpeg(services.turbojpeg),
        formats=list(services.formats),
        types={name: options.source for name, options in sorted(services.types.items())},
        cache=asdict(services.store.stats),
        shared=asdict(services.shared.stats) if services.shared is not None else None,
        headers=len(services.images),
        fetching=services.fetcher.active,
        fetched=asdict(services.fetcher.store.stats) if services.fetcher.store else None,
        pyramids={"open": len(services.pyramids), "building": services.pyramids.building},
        made_by={str(engine): count for engine, count in services.derivatives.made_by.items()},
        pools={
            "size": asdict(services.header_pool.stats),
            "image": asdict(services.image_pool.stats),
        },
        confinement={
            pool: Confinement(
                limits=sandbox.limits,
                landlock=sandbox.landlock,
                seccomp=sandbox.seccomp,
                barriers=list(sandbox.restrictions),
            )
            for pool, sandbox in services.confinement.items()
        },
        lanes={str(lane): asdict(stats) for lane, stats in services.image_pool.lanes.items()},
        quarantined=len(services.quarantine),
    )


def _uptime(services: Services) -> float:
    return round(time.time() - services.started, 1)


def _engines(services: Services) -> dict[str, bool]:
    return {"jpegtran": services.lossless, "libvips": True}


def _turbojpeg(report: LibraryReport) -> TurboJpeg:
    return TurboJpeg(
        path=report.path,
        version=report.version,
        lossless=report.lossless,
        partial_decoding=report.partial_decoding,
        advice=report.advice,
    )
