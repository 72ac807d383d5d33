"""Reasons why a server is not ready."""

import pytest

from iiif_server.server.readiness import objections

FINE: dict[str, list[str]] = {"maps": [], "photos": []}
WORKERS = {"size": 2, "image": 3}


def test_a_server_that_can_do_all_is_ready() -> None:
    assert objections(FINE, [], WORKERS) == ()
    assert objections({}, [], WORKERS) == ()


@pytest.mark.parametrize(
    ("sources", "store", "workers", "text", "detail"),
    [
        (
            {"maps": ["the folder /srv/maps does not exist"], "photos": []},
            [],
            WORKERS,
            "1 of 2 types",
            "type maps: the folder /srv/maps does not exist",
        ),
        (FINE, ["cache_path cannot be written: EROFS"], WORKERS, "cache", "EROFS"),
        (FINE, [], {"size": 2, "image": 0}, "processes", "image"),
        (FINE, [], {"size": 0, "image": 0}, "processes", "size and image"),
    ],
)
def test_a_reason_tells_anyone_what_is_wrong_and_the_log_where(
    sources: dict[str, list[str]],
    store: list[str],
    workers: dict[str, int],
    text: str,
    detail: str,
) -> None:
    (limit_problem,) = objections(sources, store, workers)
    assert text in limit_problem.text
    assert detail in limit_problem.detail
    for secret in ("/srv", "maps", "EROFS"):
        assert secret not in limit_problem.text


def test_all_that_is_wrong_is_said() -> None:
    assert len(objections({"maps": ["gone"]}, ["full"], {"image": 0})) == 3
