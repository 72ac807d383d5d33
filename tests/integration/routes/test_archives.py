"""Several originals as one ZIP file."""

import asyncio
import csv
import io
import time
import zipfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.errors import BusyError, ResponseIncompleteError
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.archive import archive
from iiif_server.server.signing import ExactRequest
from iiif_server.telemetry.events import ResponseIncomplete
from support.apps import Server, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST, SECOND = picture(), picture(90, 60, "PNG")
TYPES = {
    "open": {"source": "disk", "original": "download"},
    "closed": {"source": "disk"},
    "secret": {"source": "disk", "original": "download", "access": "signed"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("archives"),
        types=TYPES,
        signing={"keys": ["k" * 32]},
        downloads={"max_originals": 5, "archives_at_once": 1},
    )
    async with running_app(settings) as server:
        for name in TYPES:
            server.put(name, "a/1.jpg", FIRST)
            server.put(name, "b/1.jpg", SECOND)
        noise = Image.effect_noise((1500, 1000), 90)
        noise.save(server.put("open", "large.png", b""), "PNG")
        yield server


def unzipped(answer: httpx.Response) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def table(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


async def test_an_archive_holds_the_originals_and_their_checksums(server: Server) -> None:
    server.put("open", "Größe\u202e.jpg", FIRST)
    named = (
        "open:a%2F1.jpg,open:b%2F1.jpg&identifiers=open:large.png,open:Gr%C3%B6%C3%9Fe%E2%80%AE.jpg"
    )
    answer = await server.get(f"/originals.zip?identifiers={named}")
    found = unzipped(answer)
    names = ["a_1.jpg", "b_1.png", "large.png", "Größe.jpg", "manifest.csv"]
    assert found.namelist() == names
    assert found.read("a_1.jpg") == FIRST
    assert found.read("large.png") == server.original_path("open", "large.png").read_bytes()
    assert {info.compress_type for info in found.infolist()} == {zipfile.ZIP_STORED}
    rows = table(found, "manifest.csv")
    assert [row["file"] for row in rows] == names[:-1]
    assert rows[1] == {
        "file": "b_1.png",
        "identifier": "open:b/1.jpg",
        "bytes": str(len(SECOND)),
        "sha256": sha256(SECOND).hexdigest(),
        "media_type": "image/png",
    }
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="originals.zip"'
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers


async def test_names_that_are_alike_are_told_apart(server: Server) -> None:
    server.put("open", "A_1.JPG", FIRST)
    named = "open:a%2F1.jpg,open:A_1.JPG,open:a%2F1.jpg"
    found = unzipped(await server.get(f"/originals.zip?identifiers={named}"))
    assert found.namelist() == ["a_1.jpg", "A_1-2.jpg", "manifest.csv"]


async def test_what_is_missing_is_listed_with_the_reason(server: Server) -> None:
    server.put("open", "notes.txt", b"passwords")
    named = "open:nothing.jpg,open:a%2F1.jpg,open:notes.txt"
    found = unzipped(await server.get(f"/originals.zip?identifiers={named}"))
    assert found.namelist() == ["a_1.jpg", "manifest.csv", "missing.csv"]
    rows = table(found, "missing.csv")
    assert [row["identifier"] for row in rows] == ["open:nothing.jpg", "open:notes.txt"]
    assert all(row["reason"] for row in rows)
    none = await server.get("/originals.zip?identifiers=open:nothing.jpg")
    assert none.status_code == 404
    assert "open:nothing.jpg" in none.json()["error"]


@pytest.mark.parametrize(
    ("named", "status", "about"),
    [
        ("open:a%2F1.jpg,closed:a%2F1.jpg", 403, "closed:a"),
        ("secret:a%2F1.jpg", 403, "secret:a"),
        ("other:x", 404, "other:x"),
        ("", 400, ""),
        (",".join(f"open:{number}" for number in range(6)), 400, "at most 5"),
    ],
)
async def test_requests_that_are_refused_as_a_whole(
    server: Server, named: str, status: int, about: str
) -> None:
    answer = await server.get(f"/originals.zip?identifiers={named}")
    assert answer.status_code == status
    assert about in answer.json()["error"]
    assert (await server.get("/originals.zip")).status_code == 400


async def test_a_signature_opens_an_original_of_a_signed_type(server: Server) -> None:
    signatures = server.services.signatures
    assert signatures is not None
    identifier, expires = Identifier("secret", "a/1.jpg"), int(time.time()) + 60
    signed = f"{signatures.sign(identifier, expires)}/secret:a%252F1.jpg"
    found = unzipped(await server.get(f"/originals.zip?identifiers={signed}"))
    assert found.read("a_1.jpg") == FIRST
    assert b"signed" not in found.read("manifest.csv")
    exact = signatures.sign(identifier, expires, ExactRequest("3.0", "full/max/0/default.jpg"))
    refused = await server.get(f"/originals.zip?identifiers={exact}/secret:a%252F1.jpg")
    assert refused.status_code == 403
    assert exact not in refused.text


async def test_archives_are_few_at_once_and_one_that_is_given_up_makes_room(
    server: Server,
) -> None:
    services, wanted = server.services, [Identifier("open", "large.png")]
    sending = archive(services, wanted)
    assert (await anext(sending)).startswith(b"PK")
    busy = await server.get("/originals.zip?identifiers=open:large.png")
    assert busy.status_code == 503
    assert busy.headers["retry-after"]
    with pytest.raises(BusyError):
        await anext(archive(services, wanted))
    await sending.aclose()
    assert (await server.client.head("/originals.zip?identifiers=open:large.png")).content == b""
    unzipped(await server.get("/originals.zip?identifiers=open:large.png"))


async def test_an_original_that_becomes_shorter_ends_the_archive(server: Server) -> None:
    path = server.put("open", "cut.png", server.original_path("open", "large.png").read_bytes())
    sending = archive(server.services, [Identifier("open", "cut.png")])
    await anext(sending)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ResponseIncompleteError):
        async for _ in sending:
            pass
    assert server.events_of(ResponseIncomplete)
    unzipped(await server.get("/originals.zip?identifiers=open:large.png"))


async def test_an_archive_waits_for_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    types = {"open": TYPES["open"]}
    settings = settings_below(tmp_path, types=types, downloads={"archive_rate": 1000})
    async with running_app(settings) as server:
        server.put("open", "1.jpg", FIRST)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        made = [data async for data in archive(server.services, [Identifier("open", "1.jpg")])]
        monkeypatch.undo()
    assert zipfile.ZipFile(io.BytesIO(b"".join(made))).read("1.jpg") == FIRST
    assert len(FIRST) / 1000 - 5 < max(waited) <= len(FIRST) / 1000 + 1
