"""Identifiers with slashes, spaces, percent signs and other scripts."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from support.apps import Server, assert_problem, decode_image, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = (
    "pic.jpg",
    "folder/deep/pic.jpg",
    "with space.jpg",
    "ünï/コード.jpg",
    "100%.jpg",
    "100%25.jpg",
    "a%2Fb.jpg",
    "a:b:c.jpg",
    "q?uery#hash.jpg",
    "plus+and&others;=,@!$'()*~.jpg",
    "back\\slash.jpg",
    'quote".jpg',
    "<angle>.jpg",
    "full/max/0/pic.jpg",
    "folder/info.json/pic.jpg",
    "info.json",
    "health",
    "iiif/2/disk:pic.jpg",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("identifiers"),
        types={"disk": {"source": "disk"}, "a.b-c_1": {"source": "disk"}},
    )
    async with running_app(settings) as server:
        for number, name in enumerate(NAMES):
            server.put("disk", name, picture(100 + number, 100))
        server.put("a.b-c_1", "pic.jpg", picture(50, 50))
        yield server


SPELLINGS = [
    ("disk:pic.jpg", "pic.jpg"),
    ("disk%3Apic.jpg", "pic.jpg"),
    ("disk%3apic.jpg", "pic.jpg"),
    ("%64isk:%70ic.jpg", "pic.jpg"),
    ("disk:folder/deep/pic.jpg", "folder/deep/pic.jpg"),
    ("disk:folder%2Fdeep%2fpic.jpg", "folder/deep/pic.jpg"),
    ("disk:folder%2Fdeep/pic.jpg", "folder/deep/pic.jpg"),
    ("disk:with%20space.jpg", "with space.jpg"),
    ("disk:%C3%BCn%C3%AF/%E3%82%B3%E3%83%BC%E3%83%89.jpg", "ünï/コード.jpg"),
    ("disk:100%25.jpg", "100%.jpg"),
    ("disk:100%2525.jpg", "100%25.jpg"),
    ("disk:a%252Fb.jpg", "a%2Fb.jpg"),
    ("disk:a:b:c.jpg", "a:b:c.jpg"),
    ("disk:a%3Ab%3Ac.jpg", "a:b:c.jpg"),
    ("disk:q%3Fuery%23hash.jpg", "q?uery#hash.jpg"),
    ("disk:plus+and&others;=,@!$'()*~.jpg", "plus+and&others;=,@!$'()*~.jpg"),
    ("disk:plus%2Band%26others%3B%3D%2C%40%21%24%27%28%29%2A%7E.jpg",
     "plus+and&others;=,@!$'()*~.jpg"),
    ("disk:back%5Cslash.jpg", "back\\slash.jpg"),
    ("disk:quote%22.jpg", 'quote".jpg'),
    ("disk:%3Cangle%3E.jpg", "<angle>.jpg"),
    ("disk:full/max/0/pic.jpg", "full/max/0/pic.jpg"),
    ("disk:folder/info.json/pic.jpg", "folder/info.json/pic.jpg"),
    ("disk:info.json", "info.json"),
    ("disk:health", "health"),
    ("disk:iiif/2/disk:pic.jpg", "iiif/2/disk:pic.jpg"),
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
@pytest.mark.parametrize(("written", "name"), SPELLINGS)
async def test_the_id_is_written_as_the_client_wrote_it_and_leads_back(
    server: Server, prefix: str, written: str, name: str
) -> None:
    width = 100 + NAMES.index(name)
    response = await server.get_raw(f"{prefix}/{written}/info.json".encode())
    assert response.status_code == 200, response.text
    information = response.json()
    assert information["width"] == width
    id_ = information.get("id") or information["@id"]
    assert id_ == f"http://test{prefix}/{written}"
    again = await server.get_raw(f"{urlsplit(id_).path}/info.json".encode())
    assert again.json() == information
    image = await server.get_raw(f"{urlsplit(id_).path}/full/max/0/default.jpg".encode())
    assert decode_image(image).width == width
    canonical = image.headers["link"].partition(">")[0].removeprefix("<http://test")
    assert (
        canonical == f"{prefix}/{written}/full/{'full' if '2' in prefix else 'max'}/0/default.jpg"
    )


async def test_a_type_may_have_dots_hyphens_underscores_and_digits(server: Server) -> None:
    assert (await server.get("/a.b-c_1:pic.jpg/info.json")).json()["width"] == 50


@pytest.mark.parametrize(
    "written",
    [
        "disk:100%.jpg",
        "disk:%",
        "disk:%2",
        "disk:%zz",
        "disk:%u0041",
        "disk:pic%.jpg",
        "disk:%FF%FE.jpg",
        "disk:%C3.jpg",
        "disk:%ED%A0%80.jpg",
        "disk:%C0%AFetc",
        "disk:pic%00.jpg",
        "disk:pic.jpg%00",
        "disk:%00",
        "disk:pic%0DSet-Cookie:a=b",
        "disk:%1B[31m",
        "disk:pic%7F.jpg",
        "disk:pic%09.jpg",
        "disk:" + "a" * 4092,
        "disk:" + "%C3%BC" * 4092,
    ],
)
async def test_identifiers_that_can_be_none(server: Server, written: str) -> None:
    for path in ("info.json", "full/max/0/default.jpg"):
        response = await server.get_raw(f"/{written}/{path}".encode())
        assert_problem(response, 400)
        assert "set-cookie" not in response.headers
    assert_problem(await server.get_raw(f"/{written}".encode()), 400)


@pytest.mark.parametrize("written", ["disk:pic%0A.jpg", "disk:pic%0D%0ASet-Cookie:a=b"])
async def test_no_route_leads_over_a_line_break(server: Server, written: str) -> None:
    for path in ("", "/info.json", "/full/max/0/default.jpg"):
        response = await server.get_raw(f"/{written}{path}".encode())
        assert_problem(response, 404)
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "target",
    [
        "/disk:pic.jpg/full/max%2F0/default.jpg",
        "/disk:pic.jpg/full%2Fmax%2F0%2Fdefault.jpg",
        "/disk:pic.jpg%2Finfo.json",
        "/disk:pic.jpg/x/full/max%2F0/default.jpg",
        "/disk:pic.jpg/x%2Ffull/max/0%2Fdefault.jpg",
        "/disk:folder/deep/pic.jpg%2Ffull/max/0/default.jpg",
    ],
)
async def test_slashes_between_parameters_must_stand_as_they_are(
    server: Server, target: str
) -> None:
    assert_problem(await server.get_raw(target.encode()), 400, "slashes")


async def test_identifiers_of_one_original_share_what_is_made(server: Server) -> None:
    tags = {
        (await server.get_raw(f"/{written}/full/30,/0/default.jpg".encode())).headers["etag"]
        for written in ("disk:folder/deep/pic.jpg", "disk%3Afolder%2Fdeep%2Fpic.jpg")
    }
    assert len(tags) == 1


async def test_letters_outside_ascii_in_the_path_do_not_upset_the_server(server: Server) -> None:
    response = await server.get_raw(b"/disk:pic.jpg/info.json", [(b"host", b"test")])
    assert response.status_code == 200
    for target in ("/disk:‰.jpg/info.json", "/disk:pic\ud800.jpg/info.json"):
        odd = target.encode("utf-8", "surrogatepass")
        response = await server.client.get(odd.decode("latin-1"))
        assert response.status_code in {400, 404}
