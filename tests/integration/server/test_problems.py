"""Rejected requests: status and message."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("problems"),
        types={"disk": {"source": "disk"}},
        limits={"max_width": 2000, "max_area": 1_000_000},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("all/max/0/default.jpg", 'Invalid region "all"'),
        ("0,0,10/max/0/default.jpg", "Invalid region"),
        ("0,0,10,-10/max/0/default.jpg", "Invalid region"),
        ("1.5,0,10,10/max/0/default.jpg", "Invalid region"),
        ("pct:0,0,10/max/0/default.jpg", "Invalid region"),
        ("pct:0,0,ten,10/max/0/default.jpg", "Invalid region"),
        ("%20full/max/0/default.jpg", "Invalid region"),
        ("FULL/max/0/default.jpg", "Invalid region"),
        ("%D9%A1,0,10,10/max/0/default.jpg", "Invalid region"),
        ("0,0,0,10/max/0/default.jpg", ""),
        ("200,0,10,10/max/0/default.jpg", ""),
        ("pct:100,0,10,10/max/0/default.jpg", ""),
        ("full/large/0/default.jpg", 'Invalid size "large"'),
        ("full/,/0/default.jpg", "Invalid size"),
        ("full/10/0/default.jpg", "Invalid size"),
        ("full/-10,/0/default.jpg", "Invalid size"),
        ("full/0,/0/default.jpg", ""),
        ("full/pct:0/0/default.jpg", ""),
        ("full/!10,/0/default.jpg", "Invalid size"),
        ("full/^^max/0/default.jpg", "Invalid size"),
        ("full/99999999999,/0/default.jpg", ""),
        ("full/max/north/default.jpg", 'Invalid rotation "north"'),
        ("full/max/361/default.jpg", "Invalid rotation"),
        ("full/max/-90/default.jpg", "Invalid rotation"),
        ("full/max/!!0/default.jpg", "Invalid rotation"),
        ("full/max/1e1/default.jpg", "Invalid rotation"),
        ("full/max/nan/default.jpg", "Invalid rotation"),
        ("full/max/0/best.jpg", 'Invalid quality "best"'),
        ("full/max/0/DEFAULT.jpg", "Invalid quality"),
        ("full/max/0/default.bmp", '"bmp" is not supported'),
        ("full/max/0/default.JPG", '"JPG" is not supported'),
        ("full/max/0/default.%20", "Invalid format"),
        ("full/max/0/default.jpg.exe", ""),
    ],
)
async def test_parameters_outside_the_grammar(
    server: Server, prefix: str, parameters: str, words: str
) -> None:
    response = await server.get_raw(f"{prefix}/disk:pic.jpg/{parameters}".encode())
    assert_problem(response, 400, words)


@pytest.mark.parametrize(
    ("version", "parameters"),
    [
        ("/iiif/3", "full/201,/0/default.jpg"),
        ("/iiif/3", "full/400,300/0/default.jpg"),
        ("/iiif/3", "full/pct:101/0/default.jpg"),
        ("/iiif/3", "0,0,10,10/11,/0/default.jpg"),
        ("/iiif/3", "full/^2001,/0/default.jpg"),
        ("/iiif/3", "full/^1500,/0/default.jpg"),
        ("/iiif/2", "full/2001,/0/default.jpg"),
        ("/iiif/2", "full/1500,/0/default.jpg"),
    ],
)
async def test_sizes_that_are_not_given(server: Server, version: str, parameters: str) -> None:
    sentence = assert_problem(await server.get(f"{version}/disk:pic.jpg/{parameters}"), 400)
    assert any(digit in sentence for digit in "0123456789")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/disk:missing.jpg/info.json", 404),
        ("/disk:missing.jpg/full/max/0/default.jpg", 404),
        ("/nothing:pic.jpg/info.json", 404),
        ("/nothing:pic.jpg/full/max/0/default.jpg", 404),
        ("/nothing:pic.jpg", 404),
        ("/Disk:pic.jpg/info.json", 404),
        ("/pic.jpg/info.json", 404),
        ("/pic.jpg", 404),
        ("/nothing/at/all", 404),
        ("/iiif", 404),
        ("/iiif/3", 404),
        ("/iiif/1/disk:pic.jpg/info.json", 404),
        ("/health/", 404),
        ("/docs/x", 404),
        ("/redoc", 404),
        ("/disk:/info.json", 400),
        ("/disk:", 400),
        ("/:/info.json", 400),
        ("/:pic.jpg/info.json", 404),
        ("//info.json", 400),
    ],
)
async def test_what_is_not_there(server: Server, path: str, code: int) -> None:
    assert_problem(await server.get_raw(path.encode()), code)


@pytest.mark.parametrize("path", ["/iiif/3/", "/iiif/2/"])
async def test_a_path_without_an_identifier_is_no_image(server: Server, path: str) -> None:
    assert_problem(await server.get(path), 404)


@pytest.mark.parametrize(
    "path",
    ["full/max/0/.jpg", "full/max/0", "info"],
)
async def test_what_is_neither_image_nor_information_may_be_an_identifier_and_is_none(
    server: Server, path: str
) -> None:
    response = await server.get_raw(f"/disk:pic.jpg/{path}".encode())
    assert response.status_code == 303
    target = response.headers["location"].removeprefix("http://test")
    assert target == f"/disk:pic.jpg/{path}/info.json"
    assert_problem(await server.get_raw(target.encode()), 404)


@pytest.mark.parametrize("slashes", ["/", "//"])
async def test_slash_behind_the_base_uri_is_no_part_of_the_identifier(
    server: Server, slashes: str
) -> None:
    response = await server.get_raw(f"/disk:pic.jpg{slashes}".encode())
    assert response.status_code == 303
    assert response.headers["location"] == "http://test/disk:pic.jpg/info.json"


async def test_a_wrong_parameter_is_said_even_where_there_is_no_image(server: Server) -> None:
    assert_problem(await server.get("/disk:missing.jpg/full/max/0/best.jpg"), 400, "quality")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["/disk:pic.jpg", "/disk:pic.jpg/info.json", "/disk:pic.jpg/full/max/0/default.jpg", "/health"],
)
async def test_unsupported_method_is_405(server: Server, method: str, path: str) -> None:
    response = await server.client.request(method, path)
    assert_problem(response, 405, "GET, HEAD and OPTIONS")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_what_the_client_sent_is_shown_on_one_line_and_cut(server: Server) -> None:
    region = "<script>%0A" + "x" * 500
    response = await server.get_raw(f"/disk:pic.jpg/{region}/max/0/default.jpg".encode())
    sentence = assert_problem(response, 400)
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_query_changes_nothing(server: Server) -> None:
    plain = await server.get("/disk:pic.jpg/info.json")
    assert (await server.get("/disk:pic.jpg/info.json?v=1&x=/full/max")).json() == plain.json()


async def test_head_of_a_refused_request_is_refused_as_well(server: Server) -> None:
    response = await server.get_raw(b"/disk:missing.jpg/info.json", method="HEAD")
    assert response.status_code == 404
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "no-store"
    assert response.content == b""


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json;q=0"])
async def test_information_in_a_form_that_there_is_not(server: Server, accept: str) -> None:
    assert_problem(await server.get("/disk:pic.jpg/info.json", Accept=accept), 406)


@pytest.mark.parametrize(
    "path",
    [
        "/disk:pic.jpg/full/max/0/default",
        "/disk:pic.jpg/full/max/0/default.",
        "/disk:pic.jpg/full/full/0/default",
        "/disk:pic.jpg/0,0,10,10/%5E!50,50/!90/gray",
        "/iiif/3/disk:pic.jpg/full/max/0/default",
        "/iiif/2/disk:pic.jpg/full/full/0/default",
        "/disk:missing.jpg/full/max/0/default",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_an_image_without_its_format_is_taken_for_no_identifier(
    server: Server, path: str, accept: str
) -> None:
    headers = [(b"host", b"test"), (b"accept", accept.encode())]
    response = await server.get_raw(path.encode(), headers)
    assert_problem(response, 400, "Invalid format", "default.jpg")


async def test_a_name_may_look_like_parameters_if_its_slashes_are_encoded(server: Server) -> None:
    server.put("disk", "a/full/max/0/default", picture())
    response = await server.get_raw(b"/disk:a%2Ffull%2Fmax%2F0%2Fdefault")
    assert response.status_code == 303
    information = await server.get("/disk:a/full/max/0/default/info.json")
    assert information.json()["width"] == 200


async def test_the_full_size_of_older_links_is_refused_with_both_ways_out(server: Server) -> None:
    for prefix in ("", "/iiif/3"):
        response = await server.get(f"{prefix}/disk:pic.jpg/full/full/0/default.jpg")
        assert_problem(response, 400, "max", "/iiif/2/")
    older = await server.get("/iiif/2/disk:pic.jpg/full/full/0/default.jpg")
    assert older.status_code == 200
