import random

import pytest

from iiif_server.commands.replay.report import Latencies, Report


def test_percentiles_are_exact_to_one_percent() -> None:
    generator = random.Random(1)  # noqa: S311 - repeatable
    seconds = [generator.lognormvariate(-4, 1.5) for _ in range(10_000)]
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    for percent in (50, 95, 99):
        exact = sorted(seconds)[percent * 100 - 1]
        assert latencies.percentile(percent) == pytest.approx(exact, rel=0.011)
    assert latencies.percentile(100) == latencies.longest == max(seconds)


def test_latencies_without_any_and_of_zero() -> None:
    latencies = Latencies()
    assert latencies.document() == {"p50": 0, "p95": 0, "p99": 0, "max": 0}
    latencies.add(0)
    assert latencies.percentile(50) == 0


def test_hits_are_images_of_which_nothing_was_rendered() -> None:
    report = Report()
    for engine in ("memory", "cache", "tile", "raster"):
        report.answered(200, 10, 0.01, f'engine;desc="{engine}", decode;dur=1.0')
    report.answered(404, 1, 0.01, "")
    assert report.hit_rate == 0.75
    document = report.document()
    assert document["statuses"] == {"200": 4, "404": 1}
    assert document["bytes"] == 41
    assert document["engines"]["raster"]["requests"] == 1
    assert "hit rate    75.0 %" in str(report)
    assert not report.failed


def test_a_server_that_does_not_tell_has_no_hit_rate() -> None:
    report = Report()
    report.answered(200, 10, 0.01, "total;dur=5")
    assert report.document()["hit_rate"] is None
    assert "unknown" in str(report)


def test_what_a_server_sends_takes_no_memory() -> None:
    report = Report()
    for number in range(1000):
        report.answered(200, 0, 0.01, f'engine;desc="e{number}"')
        report.failure(f"f{number}")
    assert len(report.engines) == len(report.images) == len(report.failures) == 21
    assert report.failures["other"] == report.images["other"] == 980


def test_a_replay_fails_if_nothing_was_sent_or_the_server_failed() -> None:
    assert Report().failed
    report = Report()
    report.answered(404, 0, 0.1, "")
    assert not report.failed
    report.answered(503, 0, 0.1, "")
    assert report.failed


def test_a_replay_fails_if_a_request_was_not_answered() -> None:
    report = Report()
    report.answered(200, 0, 0.1, "")
    report.failure("ReadError")
    assert report.failed
