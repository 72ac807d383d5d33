"""Source `disk`: originals that are files, and no file outside the type's folder."""

import os
import shutil
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
import pytest_asyncio

from support.apps import (
    Server,
    assert_problem,
    decode_image,
    picture,
    running_app,
    settings_below,
    sleep_until_revalidated,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("disk")
    types = {name: {"source": "disk"} for name in ("disk", "other", "absent")}
    async with running_app(settings_below(root, types=types)) as server:
        server.put("disk", "pic.jpg", PICTURE)
        server.put("disk", "folder/below/pic.jpg", PICTURE)
        server.put("other", "secret.jpg", PICTURE)
        (root / "outside.jpg").write_bytes(PICTURE)
        yield server


async def assert_nothing_there(server: Server, target: str) -> None:
    """That a path in a URL names no image, in each kind of request."""
    for path in ("info.json", "full/max/0/default.jpg"):
        assert_problem(await server.get_raw(f"/{target}/{path}".encode()), 404)


@pytest.mark.parametrize(
    "name",
    ["pic.jpg", "folder/below/pic.jpg", "folder%2Fbelow%2Fpic.jpg", "folder%2fbelow/pic.jpg"],
)
async def test_a_file_is_served(server: Server, name: str) -> None:
    response = await server.get_raw(f"/disk:{name}/full/max/0/default.jpg".encode())
    assert response.content == PICTURE


@pytest.mark.parametrize(
    "name",
    [".pic.jpg", "%2Epic.jpg", "%2epic.jpg", ".folder/pic.jpg", "%2efolder%2fpic.jpg",
     "folder/.pic.jpg", "folder%2F%2Epic.jpg", "folder/.below/pic.jpg", "folder/%2ebelow/pic.jpg"],
)  # fmt: skip
async def test_hidden_files_and_those_in_hidden_folders_are_not_served(
    server: Server, name: str
) -> None:
    path = unquote(name)
    server.put("disk", path, PICTURE)
    await assert_nothing_there(server, f"disk:{name}")
    plain = path.replace(".folder", "visible").replace(".below", "visible").replace(".pic", "v.pic")
    server.put("disk", plain, PICTURE)
    assert (await server.get_raw(f"/disk:{plain}/info.json".encode())).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "missing.jpg",
        "pic.jpg/below",
        "PIC.JPG",
        "pic",
        "folder",
        "folder/",
        "folder/below",
        ".",
        "..",
        "../other/secret.jpg",
        "../../outside.jpg",
        "..%2Fother%2Fsecret.jpg",
        "%2e%2e/other/secret.jpg",
        "%2E%2E%2Fother%2Fsecret.jpg",
        "%252e%252e%252fother%252fsecret.jpg",
        "folder/../pic.jpg",
        "folder/./below/pic.jpg",
        "folder//below/pic.jpg",
        "./pic.jpg",
        "/pic.jpg",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "..\\other\\secret.jpg",
        "..%5Cother%5Csecret.jpg",
        "~root/x",
        "file:///etc/passwd",
        "n" * 300,
        "/".join(["n"] * 2000),
        "../disk/pic.jpg",
    ],
)
async def test_whatever_is_no_file_inside_the_folder_is_not_there(
    server: Server, name: str
) -> None:
    await assert_nothing_there(server, f"disk:{name}")


async def test_a_type_without_a_folder_has_nothing(server: Server) -> None:
    await assert_nothing_there(server, "absent:pic.jpg")


async def test_links_are_followed_inside_the_folder_only(server: Server) -> None:
    folder = server.original_path("disk", "")
    (folder / "inside.jpg").symlink_to("folder/below/pic.jpg")
    (folder / "outside.jpg").symlink_to("../../outside.jpg")
    (folder / "absolute.jpg").symlink_to(folder.parent / "other" / "secret.jpg")
    (folder / "away").symlink_to("../other")
    (folder / "chain.jpg").symlink_to("outside.jpg")
    (folder / "dangling.jpg").symlink_to("nothing.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    response = await server.get("/disk:inside.jpg/full/max/0/default.jpg")
    assert response.content == PICTURE
    for name in ("outside.jpg", "absolute.jpg", "away/secret.jpg", "chain.jpg"):
        await assert_nothing_there(server, f"disk:{name}")
    for name in ("dangling.jpg", "loop.jpg"):
        await assert_nothing_there(server, f"disk:{name}")


async def test_a_folder_that_is_a_link_itself_is_fine(server: Server) -> None:
    folder = server.original_path("other", "")
    folder.rename(folder.parent.parent / "moved")
    folder.symlink_to("../moved")
    response = await server.get("/other:secret.jpg/full/max/0/default.jpg")
    assert response.content == PICTURE


async def test_what_is_no_regular_file_is_not_there_and_not_waited_for(server: Server) -> None:
    os.mkfifo(server.original_path("disk", "pipe.jpg"))
    (server.original_path("disk", "null.jpg")).symlink_to("/dev/null")
    await assert_nothing_there(server, "disk:pipe.jpg")
    await assert_nothing_there(server, "disk:null.jpg")


async def test_a_replaced_original_gives_new_pixels_and_a_new_tag_after_a_second(
    server: Server,
) -> None:
    path = server.put("disk", "replaced.jpg", picture(160, 120))
    before = {
        name: await server.get(f"/disk:replaced.jpg/{name}")
        for name in ("info.json", "full/max/0/default.jpg", "full/40,/0/default.jpg")
    }
    path.write_bytes(picture(80, 120))
    await sleep_until_revalidated()
    after = {name: await server.get(f"/disk:replaced.jpg/{name}") for name in before}
    assert after["info.json"].json()["width"] == 80
    assert decode_image(after["full/max/0/default.jpg"]).size == (80, 120)
    assert decode_image(after["full/40,/0/default.jpg"]).size == (40, 60)
    for name, response in before.items():
        assert response.headers["etag"] != after[name].headers["etag"]
        again = await server.get(
            f"/disk:replaced.jpg/{name}", If_None_Match=response.headers["etag"]
        )
        assert again.status_code == 200


async def test_an_original_replaced_by_one_of_equal_size_is_told_by_its_time(
    server: Server,
) -> None:
    one = picture(64, 64, "BMP")
    other = one[:100] + bytes(byte ^ 0xFF for byte in one[100:])
    path = server.put("disk", "equal.bmp", one)
    before = decode_image(await server.get("/disk:equal.bmp/full/max/0/default.png"))
    path.write_bytes(other)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    await sleep_until_revalidated()
    after = decode_image(await server.get("/disk:equal.bmp/full/max/0/default.png"))
    assert before.tobytes() != after.tobytes()


async def test_a_removed_original_is_gone_though_its_derivatives_are_kept(server: Server) -> None:
    path = server.put("disk", "removed.jpg", PICTURE)
    assert (await server.get("/disk:removed.jpg/full/50,/0/default.jpg")).status_code == 200
    path.unlink()
    await sleep_until_revalidated()
    await assert_nothing_there(server, "disk:removed.jpg")
    assert_problem(await server.get("/disk:removed.jpg/full/50,/0/default.jpg"), 404)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", 415),
        (b"hello", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"%PDF-1.7 " * 100, 422),
        (b"\xff\xd8\xff\xe0" + b"junk" * 100, 422),
        (b"\x89PNG\r\n\x1a\n" + b"junk" * 100, 422),
        (PICTURE[:300], 422),
    ],
    ids=["empty", "text", "SVG", "PDF", "JPEG start", "PNG start", "cut header"],
)
async def test_a_file_that_is_no_image(server: Server, data: bytes, code: int) -> None:
    server.put("disk", "odd.jpg", data)
    for path in ("info.json", "full/max/0/default.jpg", "full/10,/0/default.png"):
        assert_problem(await server.get(f"/disk:odd.jpg/{path}"), code)


async def test_a_file_whose_data_ends_early_is_refused_where_pixels_are_needed(
    server: Server,
) -> None:
    png = picture(300, 200, "PNG")
    server.put("disk", "cut.png", png[: len(png) // 2])
    assert_problem(await server.get("/disk:cut.png/full/max/0/default.jpg"), 422)


async def test_originals_with_more_pixels_than_allowed_are_refused_by_their_header(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("pixels"),
        types={"disk": {"source": "disk"}},
        limits={"max_source_pixels": 29_999},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PICTURE)
        for path in ("info.json", "full/max/0/default.jpg", "full/10,/0/default.jpg"):
            assert_problem(await server.get(f"/disk:pic.jpg/{path}"), 413, "30,000", "29,999")


async def test_a_folder_that_comes_later_is_found_without_a_restart(server: Server) -> None:
    server.put("absent", "pic.jpg", PICTURE)
    assert (await server.get("/absent:pic.jpg/info.json")).status_code == 200
    shutil.rmtree(server.original_path("absent", ""))
    await sleep_until_revalidated()
    await assert_nothing_there(server, "absent:pic.jpg")
