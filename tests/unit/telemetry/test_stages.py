"""Stages of a response: durations and start times."""

import time

from iiif_server.telemetry.stages import Stages


def test_a_stage_begins_when_it_is_first_measured() -> None:
    stages = Stages()
    before = time.perf_counter()
    with stages.measure("fetch"):
        pass
    between = time.perf_counter()
    with stages.measure("fetch"):
        pass
    assert before <= stages.began["fetch"] <= between
    assert stages.seconds["fetch"] >= 0


def test_what_was_measured_elsewhere_has_ended_just_now_one_after_the_other() -> None:
    stages = Stages()
    stages.add({"queue": 1.0, "decode": 2.0, "encode": 0.5})
    now = time.perf_counter()
    began = stages.began
    assert abs(began["decode"] - began["queue"] - 1) < 1e-6
    assert abs(began["encode"] - began["decode"] - 2) < 1e-6
    assert began["encode"] + 0.5 <= now
    assert dict(stages.seconds) == {"queue": 1.0, "decode": 2.0, "encode": 0.5}
