"""Counters, and their text format."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from iiif_server.telemetry.events import (
    AccessRefused,
    Event,
    Evicted,
    Fetched,
    FetchFailed,
    PyramidFailed,
    PyramidMade,
    Quarantined,
    Rendered,
    RenderFailed,
    SandboxIncomplete,
    StoreFailed,
    WorkerNotStarted,
    WorkerRenewed,
    WorkerReplaced,
    WorkRefused,
)
from iiif_server.telemetry.metrics import CounterDeltas, Metrics
from iiif_server.telemetry.requests import Answered
from iiif_server.telemetry.stages import STAGES, Stages

IMAGE = "/{identifier}/{region}/{size}/{rotation}/{quality}.{format}"
ANSWER = Answered(
    "id-1", "192.0.2.1:5", "GET", "/a:b/full/max/0/default.jpg", "1.1", 200, 1000, 0.02,
    IMAGE, "3.0", "raster",
)  # fmt: skip


def shown(metrics: Metrics) -> dict[str, float]:
    """The samples, by name and labels as they are written."""
    lines = metrics.instruments.text().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_an_answer_is_counted_by_route_version_status_and_engine() -> None:
    metrics = Metrics()
    metrics.answered(ANSWER)
    metrics.answered(ANSWER)
    metrics.answered(ANSWER._replace(status=404, engine="", size=80))
    found = shown(metrics)
    labels = f'engine="raster",route="{IMAGE}",status="200",version="3.0"'
    assert found[f"iiif_requests_total{{{labels}}}"] == 2
    refused = f'engine="",route="{IMAGE}",status="404",version="3.0"'
    assert found[f"iiif_requests_total{{{refused}}}"] == 1
    assert found[f'iiif_response_bytes_total{{engine="raster",route="{IMAGE}"}}'] == 2000
    assert found[f'iiif_request_duration_seconds_count{{engine="raster",route="{IMAGE}"}}'] == 2
    bucket = f'iiif_request_duration_seconds_bucket{{engine="raster",le="0.025",route="{IMAGE}"}}'
    assert found[bucket] == 2


def test_nothing_of_an_address_becomes_a_label() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.answered(ANSWER._replace(path=f"/secret:{number}", request=f"id-{number}"))
    text = metrics.instruments.text().decode()
    assert "secret" not in text
    assert "id-1" not in text
    assert len([line for line in text.splitlines() if "iiif_requests_total{" in line]) == 1


def test_every_stage_that_is_measured_is_counted() -> None:
    metrics, stages = Metrics(), Stages()
    stages.add(dict.fromkeys(STAGES, 0.01))
    metrics.answered(ANSWER._replace(stages=stages))
    found = shown(metrics)
    for stage in STAGES:
        assert found[f'iiif_stage_duration_seconds_count{{stage="{stage}"}}'] == 1


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (Fetched("a:b", 10, 0.5), {'iiif_fetches_total{outcome="done"}': 1}),
        (Fetched("a:b", 10, 0.5), {"iiif_fetched_bytes_total": 10}),
        (Fetched("a:b", 10, 0.5), {"iiif_fetch_duration_seconds_sum": 0.5}),
        (FetchFailed("a:b", "no"), {'iiif_fetches_total{outcome="failed"}': 1}),
        (Rendered("a:b", "raster", 1, 0.5), {'iiif_renders_total{engine="raster"}': 1}),
        (RenderFailed("a:b", "no"), {"iiif_render_failures_total": 1}),
        (PyramidMade("a:b", "detail", 1, 2.0), {"iiif_pyramid_build_duration_seconds_sum": 2}),
        (PyramidMade("a:b", "detail", 1, 2.0), {'iiif_pyramid_parts_total{outcome="done"}': 1}),
        (PyramidFailed("a:b", "x", "no"), {'iiif_pyramid_parts_total{outcome="failed"}': 1}),
        (
            WorkerReplaced("image", "died"),
            {'iiif_workers_replaced_total{pool="image",reason="died"}': 1},
        ),
        (
            WorkerRenewed("image", "jobs"),
            {'iiif_workers_renewed_total{pool="image",reason="jobs"}': 1},
        ),
        (WorkerNotStarted("image", "no", ""), {'iiif_workers_not_started_total{pool="image"}': 1}),
        (SandboxIncomplete("image", "no"), {'iiif_sandbox_incomplete_total{pool="image"}': 1}),
        (
            WorkRefused("image", "full", "busy"),
            {'iiif_work_refused_total{lane="full",pool="image",reason="busy"}': 1},
        ),
        (Quarantined("a:b", "tile", 300, "no"), {'iiif_quarantines_total{lane="tile"}': 1}),
        (Evicted(3, 100), {"iiif_store_evicted_bytes_total": 100}),
        (AccessRefused("192.0.2.1"), {"iiif_access_refused_total": 1}),
    ],
)
def test_an_event_is_counted(event: Event, changes: dict[str, float]) -> None:
    metrics = Metrics()
    before = shown(metrics)
    metrics.observe(event)
    after = shown(metrics)
    for name, value in changes.items():
        assert after[name] - before.get(name, 0.0) == value


def test_an_event_that_no_number_is_about_changes_none() -> None:
    metrics = Metrics()
    before = shown(metrics)
    metrics.observe(StoreFailed("full"))
    assert shown(metrics) == before


def test_what_has_not_happened_yet_is_zero_where_alerts_look() -> None:
    found = shown(Metrics())
    assert found['iiif_fetches_total{outcome="failed"}'] == 0
    assert found['iiif_pyramid_parts_total{outcome="failed"}'] == 0


def test_a_counter_follows_what_a_component_counts_and_never_falls() -> None:
    metrics, counter_deltas = Metrics(), CounterDeltas()
    gauges = metrics.gauges.cache
    for total, shows in ((3, 3), (3, 3), (8, 8), (2, 8), (9, 9)):
        counter_deltas.add(gauges.hits, total, "disk")
        assert shown(metrics)['iiif_cache_hits_total{tier="disk"}'] == shows
    CounterDeltas().add(gauges.hits, 2, "disk")  # that of another application
    assert shown(metrics)['iiif_cache_hits_total{tier="disk"}'] == 11


def test_every_number_has_a_name_a_unit_and_a_meaning_as_prometheus_wants_them() -> None:
    metrics = Metrics()
    families = list(text_string_to_metric_families(metrics.instruments.text().decode()))
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"iiif_[a-z]+(_[a-z]+)*", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_ms", "_mb", "_percent", "_count", "_sum")), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name


def test_each_collection_of_numbers_is_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.answered(ANSWER)
    assert not [name for name in shown(other) if name.startswith("iiif_requests_total")]
