"""Metrics for Prometheus, and the access to them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr, field_validator
from starlette.responses import Response

from iiif_server import __version__
from iiif_server.background import BackgroundTasks
from iiif_server.options import OptionsModel
from iiif_server.plan.render_plan import Engine
from iiif_server.server.addresses import is_within
from iiif_server.server.authentication import bearer, require_token
from iiif_server.server.credentials import Credentials, checked_token
from iiif_server.server.problems import DOCUMENTED
from iiif_server.server.respond import Answer
from iiif_server.server.services import CurrentServices, Services
from iiif_server.sources.addresses import Network, Networks
from iiif_server.telemetry.metrics.instruments import CONTENT_TYPE
from iiif_server.workers.lifetime import own_memory
from iiif_server.workers.pool import WorkerPool

PATH = "/metrics"
REFRESH_SECONDS = 5.0
"""Interval of gauge updates of each server process, for the process that is scraped, in seconds."""

_FORWARDED = frozenset({"forwarded", "via", "x-real-ip"})
"""Header fields that proxies add to forwarded requests, besides `X-Forwarded-*`."""


class MetricsOptions(OptionsModel):
    """Metrics for Prometheus, at `/metrics`.

    `/metrics` exists only if a token or a network is configured.
    """

    enabled: bool = True
    """Whether there is `/metrics`, for requests with a token or from a network below. Without any
    token and network there is no `/metrics`."""
    token: SecretStr | None = None
    """Token for `/metrics` only, a secret of at least 16 characters; the token of `[admin]` is
    accepted, too."""
    allow_networks: Networks = ()
    """Networks (CIDR) from which `/metrics` is read without a token. Requests that a proxy has
    forwarded (`X-Forwarded-*`, `Forwarded`, `Via`) need a token. A proxy that adds none of these
    headers must not forward `/metrics`."""

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        return checked_token(token)


@dataclass(frozen=True, slots=True)
class Scraping:
    """Access to the metrics: accepted tokens, and networks that need none."""

    tokens: tuple[Credentials, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether any client has access."""
        return bool(self.tokens or self.networks)


def scraping(options: MetricsOptions, administrator: SecretStr | None) -> Scraping:
    """Access to the metrics, from the settings."""
    if not options.enabled:
        return Scraping()
    tokens = [token for token in (options.token, administrator) if token is not None]
    return Scraping(tuple(map(Credentials, tokens)), options.allow_networks)


def is_near(peer: str, header_names: Iterable[str], networks: Sequence[Network]) -> bool:
    """Whether a request comes from one of the networks, without a proxy that reports itself. Pure.

    Header names are in lower case.
    """
    passed_on = any(name in _FORWARDED or name.startswith("x-forwarded-") for name in header_names)
    return not passed_on and is_within(peer, tuple(networks))


def metrics_router(allowed: Scraping) -> APIRouter:
    """Route of the metrics."""
    router = APIRouter(tags=["Operations"], responses=DOCUMENTED)
    token = bearer("metrics", "The token of the settings, `[metrics] token` or `[admin] token`")

    text: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @router.get(PATH, summary="Metrics", response_class=Response, responses={200: text})
    async def metrics(
        request: Request,
        services: CurrentServices,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(token)],
    ) -> Response:
        """Metrics of all server processes, in the text format of Prometheus."""
        peer = request.client.host if request.client else ""
        if not is_near(peer, request.headers.keys(), allowed.networks):
            require_token(request, given, allowed.tokens, services.observer)
        await update_gauges(services)
        text = await asyncio.to_thread(services.metrics.instruments.text)
        return Answer(text, CONTENT_TYPE)

    return router


@asynccontextmanager
async def refreshing_gauges(services: Services) -> AsyncIterator[None]:
    """Context that updates the gauges every REFRESH_SECONDS, for the process that is scraped."""
    await update_gauges(services)
    async with BackgroundTasks() as tasks:
        tasks.repeat(REFRESH_SECONDS, partial(update_gauges, services))
        yield


async def update_gauges(services: Services) -> None:
    """Set all gauges to their current values."""
    unready = await services.readiness.objections()
    gauges = services.metrics.gauges
    gauges.ready.set(not unready)
    gauges.processes.set(1)
    gauges.build.labels(__version__).set(1)
    gauges.started.set(services.started)
    gauges.memory.labels("server").set(own_memory(os.getpid()))
    gauges.fetching.set(services.fetcher.active)
    if services.fetcher.store is not None:
        stats = services.fetcher.store.stats
        gauges.fetched_files.set(stats.files)
        gauges.fetched_bytes.set(stats.size)
        services.counter_deltas.add(gauges.fetched_evicted, stats.evicted)
    gauges.quarantined.set(len(services.quarantine))
    gauges.headers.set(len(services.images))
    _update_cache_gauges(services)
    _update_worker_gauges(services)


def _update_cache_gauges(services: Services) -> None:
    gauges, add = services.metrics.gauges.cache, services.counter_deltas.add
    memory, store, pyramids = services.responses.stats, services.store.stats, services.pyramids
    add(gauges.hits, memory.hits, "memory")
    add(gauges.misses, memory.misses, "memory")
    add(gauges.evictions, memory.evicted, "memory")
    gauges.cached.labels("memory").set(memory.size)
    gauges.entries.labels("memory").set(memory.entries)
    add(gauges.hits, store.hits, "disk")
    add(gauges.misses, store.misses, "disk")
    add(gauges.evictions, store.evicted, "disk")
    gauges.stored.set(store.size)
    gauges.files.set(store.files)
    gauges.refusing.set(store.refused is not None)
    if store.free is not None:
        gauges.free.set(store.free)
    add(gauges.damaged, store.dropped)
    add(gauges.failures, store.failures)
    if services.shared is not None:
        shared = services.shared.stats
        add(gauges.hits, shared.hits, "shared")
        add(gauges.misses, shared.misses, "shared")
        add(gauges.shared_failures, shared.failures)
        gauges.shared_open.set(shared.state != "closed")
        gauges.shared_waiting.set(shared.waiting)
    add(gauges.hits, services.derivatives.made_by.get(Engine.TILE, 0), "pyramid")
    add(gauges.misses, pyramids.misses, "pyramid")
    gauges.cached.labels("pyramid").set(pyramids.open_bytes)
    gauges.entries.labels("pyramid").set(len(pyramids))
    gauges.building.set(pyramids.building)


def _update_worker_gauges(services: Services) -> None:
    gauges, add = services.metrics.gauges, services.counter_deltas.add
    pools: dict[str, WorkerPool] = {"size": services.header_pool, "image": services.image_pool}
    for name, pool in pools.items():
        stats = pool.stats
        gauges.workers.labels(name, "busy").set(stats.busy)
        gauges.workers.labels(name, "idle").set(stats.workers - stats.busy)
        add(gauges.jobs_done, stats.done, name)
        gauges.memory.labels(name).set(sum(map(own_memory, pool.pids)))
    for lane, jobs in services.image_pool.lanes.items():
        gauges.jobs.labels(str(lane), "running").set(jobs.running)
        gauges.jobs.labels(str(lane), "waiting").set(jobs.waiting)
        gauges.job_memory.labels(str(lane)).set(jobs.bytes)
