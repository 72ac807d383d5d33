"""Whether the server answers, what it can do, and what it is doing."""

import os
import time
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from iiif_server import __version__
from iiif_server.plan.jobs import LibraryReport
from iiif_server.server.services import Services, get_services

router = APIRouter(tags=["Operations"])


class Health(BaseModel):
    """Whether the process answers."""

    status: str


class Ready(BaseModel):
    """Whether the server can do its work as it should."""

    status: Literal["ready", "unready"]
    reasons: list[str] = []
    """Why not; the log says more."""


class Summary(BaseModel):
    """What anyone may know of the server."""

    name: str
    uptime: float
    """In seconds."""
    engines: dict[str, bool]
    """`jpegtran` is false where full-resolution JPEG tiles have to be compressed anew."""
    formats: list[str]


class Confinement(BaseModel):
    """What worker processes are behind."""

    limits: bool
    landlock: int
    """The version of the kernel's interface; 0: there is none."""
    seccomp: str
    """The version of libseccomp; empty: there is none."""
    barriers: list[str]
    """What these keep a worker from, even if a hostile file has taken it over."""


class TurboJpeg(BaseModel):
    """The libturbojpeg that image workers use."""

    path: str
    """The file that it was loaded from; empty: there is none."""
    version: str
    lossless: bool
    """Whether JPEGs are cut and turned without loss."""
    partial_decoding: bool
    """Whether a part of a JPEG is decoded without the rest: from version 3.0 on."""
    advice: str
    """What to do where a feature is missing; empty: nothing."""


class Status(BaseModel):
    """What the server is, can do, and is doing: for those who run it."""

    version: str
    process: int
    """The id of the server process that answers; all numbers here are its own."""
    uptime: float
    """In seconds."""
    engines: dict[str, bool]
    """`jpegtran` is false where full-resolution JPEG tiles have to be compressed anew."""
    turbojpeg: TurboJpeg
    formats: list[str]
    types: dict[str, str]
    """The source of each type."""
    cache: dict[str, Any]
    shared: dict[str, Any] | None
    """The circuit breaker (`state`) and the requests of the shared cache; null without
    `cache.shared`."""
    headers: int
    """Headers of originals remembered."""
    fetching: int
    """Originals being fetched now."""
    fetched: dict[str, int] | None
    """Fetched originals that are stored, their bytes, and how many this process has evicted; null
    without `fetch.keep_bytes` and `fetch.keep_files`."""
    pyramids: dict[str, int]
    """Parts of pyramids that are open, and being made."""
    made_by: dict[str, int]
    """How many answers each engine has made; those from the cache do not count."""
    pools: dict[str, dict[str, int]]
    confinement: dict[str, Confinement]
    """The sandbox status of the workers of each pool."""
    lanes: dict[str, dict[str, int]]
    """What the image processes do by kind of work: tile (tiles and small images), build (parts of
    pyramids) and full (full-size images and what is as expensive)."""
    quarantined: int
    """Originals that are left alone because processes died over them."""


@router.get("/health", summary="Liveness")
async def health(response: Response) -> Health:
    """Answers as long as the process does."""
    response.headers["Cache-Control"] = "no-store"
    return Health(status="ok")


@router.get(
    "/health/ready",
    summary="Readiness",
    responses={503: {"model": Ready, "description": "Not ready, for these reasons"}},
)
async def ready(response: Response, services: Annotated[Services, Depends(get_services)]) -> Ready:
    """Whether originals can be read, what is made can be kept, and there are worker processes."""
    reasons = [objection.text for objection in await services.readiness.objections()]
    response.headers["Cache-Control"] = "no-store"
    if reasons:
        response.status_code = 503
        return Ready(status="unready", reasons=reasons)
    return Ready(status="ready")


@router.get("/status", summary="Status")
async def status(services: Annotated[Services, Depends(get_services)]) -> Summary:
    """What anyone may know of the server."""
    return Summary(
        name="iiif-server",
        uptime=_uptime(services),
        engines=_engines(services),
        formats=list(services.formats),
    )


def detailed(services: Services) -> Status:
    """What the server is, can do, and is doing."""
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
