"""`iiif-server compare`: status, size and pixels of two servers."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageOps

from iiif_server.cli import main
from support.apps import picture
from support.upstream import Handler, Reply, Upstream, running_upstream, send, status


@pytest.fixture
def servers() -> Iterator[tuple[Upstream, Upstream]]:
    with running_upstream() as old, running_upstream() as new:
        for server in (old, new):
            server.otherwise = images(picture(900, 700))
        yield old, new


def images(data: bytes, dimensions: tuple[int, int] = (900, 700)) -> Reply:
    """A server of one image: any region and size."""

    def reply(handler: Handler) -> None:
        *_, region, _, _, name = handler.path.split("/")
        if name == "info.json":
            document = {"width": dimensions[0], "height": dimensions[1]}
            send(json.dumps(document).encode(), "application/json")(handler)
            return
        with Image.open(io.BytesIO(data)) as image:
            if region == "full":
                part = ImageOps.contain(image, (400, 400))
            else:
                x, y, width, height = map(int, region.split(","))
                part = image.crop((x, y, x + width, y + height))
            file = io.BytesIO()
            part.save(file, "JPEG", quality=90)
        send(file.getvalue())(handler)

    return reply


def compare(servers: tuple[Upstream, Upstream], tmp_path: Path, text: str, *options: str) -> Result:
    file = tmp_path / "identifiers"
    file.write_text(text)
    urls = [f"{server.base}/iiif/2/" for server in servers]
    return CliRunner().invoke(main, ["compare", *urls, "--identifiers", str(file), *options])


def test_equal_images_are_equal(servers: tuple[Upstream, Upstream], tmp_path: Path) -> None:
    result = compare(servers, tmp_path, "a%2Fb.jpg\n\nc d.jpg\n")
    assert result.exit_code == 0, result.output
    assert "2 equal, 0 different, 0 could not be compared." in result.output
    asked = set(servers[0].targets())
    assert asked == set(servers[1].targets())
    assert "/iiif/2/a%2Fb.jpg/info.json" in asked
    assert "/iiif/2/a%2Fb.jpg/full/!400,400/0/default.jpg" in asked
    assert "/iiif/2/a%2Fb.jpg/388,188,512,512/512,/0/default.jpg" in asked
    assert "/iiif/2/c%20d.jpg/info.json" in asked


def test_differences_are_told(servers: tuple[Upstream, Upstream], tmp_path: Path) -> None:
    old, new = servers
    with Image.open(io.BytesIO(picture(900, 700))) as image:
        file = io.BytesIO()
        ImageOps.invert(image).save(file, "JPEG")
    path = "/iiif/2/{}/info.json"
    new.replies[path.format("gone")] = status(404)
    other = json.dumps({"width": 450, "height": 350}).encode()
    new.replies[path.format("small")] = send(other, "application/json")
    whole = "/iiif/2/{}/full/!400,400/0/default.jpg"
    new.replies[whole.format("inverted")] = send(file.getvalue())
    new.replies[whole.format("narrow")] = send(picture(300, 311))
    for server in servers:
        server.replies[path.format("never")] = status(404)
    result = compare(servers, tmp_path, "gone\nsmall\ninverted\nnarrow\nnever\nsame", "--json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    found = {line["identifier"]: line for line in lines}
    assert found["gone"]["differences"] == ["info.json: status 200, now 404"]
    assert found["small"]["differences"] == ["info.json: 900x700, now 450x350"]
    assert "900x700" in found["inverted"]["differences"][0]
    assert "400x311 pixels, now 300x311" in found["narrow"]["differences"][0]
    assert {found[name]["outcome"] for name in ("never", "same")} == {"equal"}
    assert "2 equal, 4 different" in result.stderr
    assert old.count("/iiif/2/same/info.json") == 1


def test_pixels_are_compared_within_a_tolerance(
    servers: tuple[Upstream, Upstream], tmp_path: Path
) -> None:
    with Image.open(io.BytesIO(picture(900, 700))) as image:
        file = io.BytesIO()
        image.point([min(255, value + 12) for value in range(256)] * 3).save(file, "JPEG")
    servers[1].otherwise = images(file.getvalue())
    result = compare(servers, tmp_path, "1")
    assert result.exit_code == 1
    assert "full/!400,400: pixels differ by 1" in result.output
    assert compare(servers, tmp_path, "1", "--tolerance", "20").exit_code == 0


@pytest.mark.parametrize(
    "reply",
    [
        send(b"<html>", "text/html"),
        send(b'{"width": 1}'),
        send(b'{"width": 0, "height": 0}'),
        send(b'{"width": Infinity, "height": 1}'),
    ],
)
def test_what_cannot_be_compared_is_told(
    servers: tuple[Upstream, Upstream], tmp_path: Path, reply: Reply
) -> None:
    servers[1].replies["/iiif/2/1/info.json"] = reply
    result = compare(servers, tmp_path, "1\n2")
    assert result.exit_code == 2
    assert "1 equal, 0 different, 1 could not be compared." in result.output
    assert "info.json" in result.output


def test_images_that_are_none_cannot_be_compared(
    servers: tuple[Upstream, Upstream], tmp_path: Path
) -> None:
    servers[1].replies["/iiif/2/1/full/!400,400/0/default.jpg"] = send(b"no image")
    result = compare(servers, tmp_path, "1")
    assert result.exit_code == 2
    assert "cannot be decoded" in result.output


def test_a_server_that_is_down_is_told(tmp_path: Path) -> None:
    file = tmp_path / "identifiers"
    file.write_text("1\n")
    urls = ["http://127.0.0.1:9/iiif/2", "http://127.0.0.1:9/iiif/3"]
    result = CliRunner().invoke(main, ["compare", *urls, "--identifiers", str(file)])
    assert result.exit_code == 2
    assert "ConnectError" in result.output
    empty = CliRunner().invoke(main, ["compare", *urls, "--identifiers", "-"], input="\n")
    assert empty.exit_code == 2
    assert "no identifiers" in empty.output


@pytest.mark.parametrize(
    ("url", "identifiers", "said"),
    [
        ("http://[::1", b"1", "is not a URL"),
        ("http://", b"1", "and a host"),
        ("ftp://example.org/iiif/2", b"1", "must begin with http"),
        ("http://127.0.0.1:9/iiif/2", b"\xff\xfe", "not text in UTF-8"),
    ],
)
def test_what_was_written_wrongly_is_told(
    tmp_path: Path, url: str, identifiers: bytes, said: str
) -> None:
    file = tmp_path / "identifiers"
    file.write_bytes(identifiers)
    result = CliRunner().invoke(main, ["compare", url, url, "--identifiers", str(file)])
    assert result.exit_code == 2
    assert said in result.output
