"""Patterns of the routes: linear time and bounded length for any input."""

import re
from collections.abc import Callable

import pytest
from fastapi.routing import APIRoute

from iiif_server.iiif.versions import V2, V3
from iiif_server.routes import pages
from iiif_server.routes.admin import admin_router
from iiif_server.routes.image_api import base_uri_router, image_api_router
from iiif_server.routes.pages import viewer_router
from iiif_server.routes.presentation import documents, presentation_router
from iiif_server.server.header_fields import split_outside_quotes
from iiif_server.server.negotiation import MAX_ACCEPT, negotiate, prefers_page
from iiif_server.server.request_limits import MAX_HEADER_BYTES
from iiif_server.server.signing import _LOOKS_LIKE_ONE
from support.work import count_lines_run, count_match_steps, count_search_steps

LINEAR = 2.3
"""Most that the work may grow by where the input doubles, with what each call takes besides."""
ACCEPTS = [
    'a;b="{};',
    "{},",
    "a{};",
    'a;b="{}\\"',
    'a;b="{}",',
    "a;q={}0.",
    "application/ld+json;profile={}x ",
    '{}"',
    "{}\\",
    "{}=",
]
"""What is repeated stands between the braces and a bar, behind which stands the end."""


def repeated(template: str, size: int) -> str:
    start, piece = template.split("{}")
    piece, _, end = piece.partition("|")
    return start + piece * ((size - len(start)) // len(piece)) + end


@pytest.mark.parametrize("reader", [lambda text: negotiate(text, (V3, V2)), prefers_page])
@pytest.mark.parametrize("template", ACCEPTS)
def test_an_accept_header_of_any_length_takes_no_more_than_one_of_the_bound(
    template: str, reader: Callable[[str], object]
) -> None:
    def work(size: int) -> int:
        text = f"application/json, {repeated(template, size)}"
        return count_lines_run(lambda: reader(text))

    half, bound = work(MAX_ACCEPT // 2), work(MAX_ACCEPT)
    assert bound <= LINEAR * half
    assert work(MAX_HEADER_BYTES) <= bound * 1.1


def test_what_is_behind_the_bound_of_an_accept_header_is_not_read() -> None:
    filler = "image/png, " * (MAX_ACCEPT // 11 - 5)
    near = f"application/ld+json, {filler}"
    assert negotiate(near + "application/json", (V3, V2)).linked_data
    assert len(near) < MAX_ACCEPT
    cut = "x" * (MAX_ACCEPT - len(near) - 4)
    # The range that is cut in two would be */*.
    assert negotiate(f"application/json;q=0.1, {filler}{cut}, */*;q=0.9", (V3, V2)).linked_data is (
        False
    )


@pytest.mark.parametrize("piece", ['"', "\\", ",", '",', '\\",', ' "a,b",'])
def test_splitting_a_field_is_linear(piece: str) -> None:
    small = count_lines_run(lambda: split_outside_quotes(piece * 500, ","))
    large = count_lines_run(lambda: split_outside_quotes(piece * 1000, ","))
    assert large <= LINEAR * small


PATHS = [
    "/a/b/c/d/{}.|/x",
    "/a/b/c/d/{}.|",
    "/a/b/c/d/{}a.b/|x",
    "/a/b/c/{}/|x",
    "/{}/",
    "/{}a/",
    "/{}a/.|/",
    "/a{}/view|s",
    "/a{}/info.json|s",
    "/admin/explain/a/b/c/d/{}.|/",
    "/iiif/2/a/b/c/d/{}.|/",
    "/signed/{}1",
    "/signed/1.abcdefghijklmnopqrstuvwxyz012345{}/",
    "/iiif/3/signed/1.{}a",
]


@pytest.fixture(scope="module")
def patterns() -> list["re.Pattern[str]"]:
    """Those of all routes."""
    routers = [
        base_uri_router(V3, ""),
        image_api_router(V3, ""),
        image_api_router(V2, V2.path),
        presentation_router(V3, ""),
        viewer_router(V3, V3.path),
        documents,
        admin_router(),
        pages.router,
    ]
    routes = [route for router in routers for route in router.routes]
    return [route.path_regex for route in routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("template", PATHS)
def test_finding_the_route_of_a_path_is_linear(
    template: str, patterns: list["re.Pattern[str]"]
) -> None:
    for pattern in patterns:
        small, large = (count_match_steps(pattern, repeated(template, size)) for size in (300, 600))
        assert large <= LINEAR * small + 100, pattern.pattern


@pytest.mark.parametrize("size", [10, 11])
def test_steps_are_counted_as_a_backtracking_engine_takes_them(size: int) -> None:
    assert count_match_steps(re.compile("(a*)*b"), "a" * size) > 2**size
    assert count_match_steps(re.compile("a*b"), "a" * size) == 2 * size + 2
    assert count_match_steps(re.compile("(?=a*b)a*"), "a" * size) == 2 * size + 2


@pytest.mark.parametrize("template", ["{}1", "123456789.{}a", "{}123456789.", "{}1234567890123."])
def test_signatures_are_taken_out_of_a_path_in_linear_time(template: str) -> None:
    small, large = (
        count_search_steps(_LOOKS_LIKE_ONE, repeated(template, size)) for size in (500, 1000)
    )
    assert large <= LINEAR * small
