"""Access log: request ids and paths."""

from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from iiif_server.server.access_log import IMAGE, AccessLog, Kind, kind_of
from iiif_server.server.addresses import Addressing
from iiif_server.telemetry.logs import shown_path
from iiif_server.telemetry.requests import Answered, new_request_id, sane_request_id

ADDRESSING = Addressing(None, (IPv4Network("10.0.0.0/8"),))


def scope(peer: str | None = "10.0.0.1", **changes: Any) -> dict[str, Any]:
    """What is asked of the app."""
    return {
        "type": "http",
        "method": "GET",
        "path": "/disk:a/info.json",
        "http_version": "1.1",
        "headers": [(b"host", b"test"), (b"x-request-id", b"abc-123"), (b"traceparent", b"00-1")],
        "client": (peer, 5000) if peer else None,
        **changes,
    }


def test_the_id_that_a_trusted_proxy_gives_is_kept() -> None:
    assert AccessLog(ADDRESSING, []).request_id(scope()) == "abc-123"


@pytest.mark.parametrize("peer", ["192.0.2.1", None, "not-an-address"])
def test_nobody_else_gives_a_request_its_id(peer: str | None) -> None:
    assert AccessLog(ADDRESSING, []).request_id(scope(peer)) != "abc-123"


@pytest.mark.parametrize(
    "given", ["", "a b", 'a"b', "a\nb", "a\x00", "é", "x" * 129, "a,b", "a;b", "<a>", "%0a"]
)
def test_an_id_that_might_break_a_line_or_a_header_is_not_taken(given: str) -> None:
    assert sane_request_id(given) is None
    headers = [(b"x-request-id", given.encode("latin-1", "replace"))]
    made = AccessLog(ADDRESSING, []).request_id(scope(headers=headers))
    assert made != given
    assert sane_request_id(made) == made


def test_ids_that_others_make_are_taken() -> None:
    for given in (
        "Root=1-67891233-abcdef012345678912345678",
        "9b2f0c1e-6a53-4f4d-9d41-1a52f8a4e1ab",
        "a" * 128,
    ):
        assert sane_request_id(given) == given


def test_no_id_is_made_twice() -> None:
    assert len({new_request_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("/{identifier:identifier}/{region}/{size}/{rotation}/{quality}.{format}", (IMAGE, "3.0")),
        (
            "/iiif/2/{identifier:identifier}/{region}/{size}/{rotation}/{quality}.{format}",
            (IMAGE, "2.1"),
        ),
        ("/iiif/3/{identifier:path}/info.json", ("/{identifier}/info.json", "3.0")),
        ("/{identifier:path}", ("/{identifier}", "3.0")),
        ("/health", ("/health", "")),
        ("/admin/cache/{identifier:path}", ("/admin/cache/{identifier}", "")),
        ("", ("other", "")),
    ],
)
def test_what_was_asked_for_is_said_by_the_route(template: str, kind: tuple[str, str]) -> None:
    assert kind_of({"route": SimpleNamespace(path=template)}) == Kind(*kind)


def test_what_is_of_no_route_is_told_under_one_name() -> None:
    assert kind_of({"path": "/anything/at/all"}) == Kind("other", "")


def test_the_version_that_was_negotiated_counts() -> None:
    asked = {"route": SimpleNamespace(path="/{identifier:path}/info.json")}
    assert kind_of(asked, "2.1") == Kind("/{identifier}/info.json", "2.1")


def test_what_is_no_image_call_has_no_version() -> None:
    assert kind_of({"route": SimpleNamespace(path="/health")}, "2.1") == Kind("/health", "")


def entered(**changes: Any) -> Answered:
    """What is told of an answer."""
    told: list[Answered] = []
    log = AccessLog(ADDRESSING, [told.append], traced=True)
    asked = scope(**changes)
    log.record(asked, "id", kind=Kind("other", ""), began=0.0, status=200, size=5)
    (answered,) = told
    return answered


def test_signatures_are_told_to_nobody() -> None:
    answered = entered(path="/iiif/3/signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/a:b")
    assert "5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e" not in answered.path
    assert "***" in answered.path


def test_a_method_that_nobody_knows_makes_no_name() -> None:
    assert entered(method="PROPFIND").method == "OTHER"


def test_only_a_trusted_proxy_says_which_trace_a_request_is_part_of() -> None:
    assert entered().parent == "00-1"
    assert entered(peer="192.0.2.1").parent == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/disk:a%2Fb.jpg/info.json", "/disk:a%2Fb.jpg/info.json"),
        (b"/disk:a%2fb%20c/info.json", "/disk:a%2Fb%20c/info.json"),
        (b"/disk:a/b%20c/info.json", "/disk:a/b%20c/info.json"),
        (b"/disk:a%252Fb/info.json", "/disk:a%252Fb/info.json"),
        (b"/disk:a%2F%0d%0A%22/info.json", "/disk:a%2F%0D%0A%22/info.json"),
        (b"/signed%2F1767225600%2E5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e%2Fa:b", "/signed%2F***%2Fa:b"),
    ],
)
def test_encoded_slashes_are_shown_as_they_were_sent(raw: bytes, shown: str) -> None:
    answered = entered(raw_path=raw, path=unquote(raw.decode()))
    assert shown_path(answered) == shown
    assert "5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e" not in repr(answered)
