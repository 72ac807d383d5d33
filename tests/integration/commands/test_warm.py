"""`iiif-server warm`: requests of viewers, rendered locally or sent over HTTP."""

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iiif_server.cli import main
from iiif_server.commands.warm.manifests import read_manifest
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.geometry import Dimensions, Limits, square
from iiif_server.iiif.information import Service, image_information
from iiif_server.iiif.versions import V2, V3
from iiif_server.iiif.viewers import InfoJson
from iiif_server.settings import load_settings
from support.apps import picture, running_app
from support.disks import small_disk
from support.servers import ADMIN_TOKEN, server_environment
from support.upstream import Handler, Upstream, running_upstream, send, status

BASE = "https://images.example.org/iiif"
SIZE = Dimensions(700, 500)
SCREEN = Dimensions(1920, 1080)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with a large original, a small one, one of three pages, and no image."""
    folder = tmp_path / "source" / "disk"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(picture(700, 500))
    (folder / "small.jpg").write_bytes(picture(100, 80))
    page = Image.linear_gradient("L").resize((700, 500))
    page.save(folder / "pages.tif", save_all=True, append_images=[page, page])
    (folder / "notes.txt").write_text("no image")
    path = tmp_path / "settings.toml"
    path.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f'base_url = "{BASE}"\nadmin.token = "{ADMIN_TOKEN}"\n'
        'image_pool_size = 1\nsize_pool_size = 1\n[types.disk]\nsource = "disk"\n'
        "[pyramids]\nmin_pixels = 100000\ntile_size = 128\n"
    )
    return path


def warm(config: Path | None, *arguments: str, command: str = "warm") -> Result:
    options = [] if config is None else ["--config", str(config)]
    return CliRunner().invoke(main, [command, *options, *arguments])


def paths(version: Any) -> set[str]:
    return set(InfoJson(version, SIZE, square(512)).requests(SCREEN))


async def test_what_viewers_request_is_not_made_any_more(config: Path) -> None:
    result = await asyncio.to_thread(warm, config, "--type", "disk", "--all")
    assert result.exit_code == 0, result.output
    assert "3 images warmed: " in result.output
    assert "for which 2 pyramids and " in result.output
    assert "0 failed, 1 no images." in result.output
    async with running_app(load_settings(config)) as server:
        for name in ("a.jpg", "small.jpg"):
            for version in (V2, V3):
                uri = f"{version.path}/disk:{name}"
                information = (await server.get(f"{uri}/info.json")).json()
                for path in InfoJson.read(information).requests(None):
                    answer = await server.get(f"{uri}/{path}")
                    assert answer.status_code == 200, path
        status = await server.status()
    assert set(status["made_by"]) == {"tile", "original"}
    again = await asyncio.to_thread(warm, config, "--type", "disk", "--all")
    assert "for which 0 pyramids and 0 others were made" in again.output


def test_all_pages_are_warmed_if_they_are_meant(config: Path) -> None:
    first = warm(config, "disk:pages.tif")
    assert "1 images warmed" in first.output
    assert "2 further pages were left out: --pages includes them." in first.output
    second = warm(config, "--pages", "disk:pages.tif")
    assert "3 images warmed" in second.output
    assert "for which 2 pyramids" in second.output
    assert "left out" not in second.output
    one = warm(config, "disk:pages.tif;2")
    assert "0 pyramids and 0 others were made; 0 failed." in one.output
    assert "left out" not in one.output


def test_images_of_a_manifest_are_those_of_this_server(config: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    ids = [f"{BASE}/disk:a.jpg", f"{BASE}/2/disk:small.jpg", "https://other.example.org/disk:x"]
    ids += [f"{BASE}/disk:%zz", f"{BASE}/disk:gone.jpg", f"{BASE}/3/signed/1.x/disk:small.jpg"]
    services = [{"id": id_, "type": "ImageService3"} for id_ in ids]
    manifest.write_text(json.dumps({"type": "Manifest", "items": [{"service": services}]}))
    result = warm(config, "--manifest", str(manifest))
    assert "2 images warmed" in result.output
    assert "1 image services are of another server than https://images.exa" in result.output
    assert 'failed  "disk:%zz": The URL contains a %' in result.output
    assert "failed  disk:gone.jpg: There is no image" in result.output
    assert "2 failed." in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "or --manifest URL|FILE"),
        (("--manifest", "x", "disk:a.jpg"), "or --manifest URL|FILE"),
        (("--manifest", "x"), "The manifest x cannot be read"),
        (("disk:a.jpg", "--screen", "1920"), "written as 1920x1080"),
        (("disk:a.jpg", "--against", "nowhere"), "must begin with http"),
        (("disk:a.jpg", "--against", "http://127.0.0.1:9"), "http://127.0.0.1:9 does not answer"),
        (
            ("disk:a.jpg", "--against", "http://127.0.0.1:9", "--pages"),
            "cannot be combined with --scheduler",
        ),
        (("--type", "none", "--against", "http://127.0.0.1:9"), "does not answer"),
    ],
)
def test_what_cannot_be_warmed_is_an_error(
    config: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = warm(config, *arguments)
    assert reason in result.output
    assert result.exit_code in {1, 2}


def test_without_its_url_no_service_is_known_to_be_of_this_server(
    config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text().replace("base_url", "# base_url"))
    (tmp_path / "m.json").write_text("{}")
    result = warm(config, "--manifest", str(tmp_path / "m.json"))
    assert "Set base_url (IIIF_BASE_URL)" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 1_000_000, "is not JSON"),
        (b"[1]", "is no manifest"),
        (b'{"type": "Collection"}', "is a collection"),
        (b'{"@type": "sc:Collection"}', "is a collection"),
        (b" " * ((32 << 20) + 1), "more than 32 MB"),
    ],
)
async def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        await read_manifest(str(path))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (send(gzip.compress(b" " * (33 << 20)), Content_Encoding="gzip"), "more than 32 MB"),
        # Each further coding is a thousand times as much for the same bytes.
        (send(gzip.compress(b"{}"), Content_Encoding="gzip, gzip"), "compressed in a way"),
        (send(b"{}", Content_Encoding="gzip"), "compressed in a way"),
        (send(b"", code=302, Location="/m"), "redirected more than 5 times"),
        (send(b"", code=302, Location="file:///etc/passwd"), "unsupported protocol"),
        (status(404), "answered with 404"),
    ],
)
async def test_what_is_no_manifest_is_refused_by_its_url_without_secrets(
    reply: Any, reason: str
) -> None:
    with running_upstream() as upstream:
        upstream.replies["/m"] = upstream.replies["/m?key=secret"] = reply
        url = upstream.base.replace("//", "//user:secret@")
        with pytest.raises(ConfigurationError, match=reason) as raised:
            await read_manifest(f"{url}/m?key=secret")
    assert "/m?key=... cannot be read" in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_a_manifest_may_be_compressed_and_elsewhere() -> None:
    with running_upstream() as upstream:
        upstream.replies["/m"] = send(b"", code=302, Location="/other")
        upstream.replies["/other"] = send(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
        assert await read_manifest(f"{upstream.base}/m") == {"a": 1}


async def test_redirect_of_a_manifest_to_a_private_address_is_refused_unless_allowed() -> None:
    with running_upstream() as upstream:
        other = upstream.base.replace("127.0.0.1", "localhost")
        upstream.replies["/m"] = send(b"", code=302, Location=f"{other}/private")
        upstream.replies["/private"] = send(b"{}")
        with pytest.raises(ConfigurationError, match=r"redirected to localhost, whose IP"):
            await read_manifest(f"{upstream.base}/m")
        assert not upstream.count("/private")
        allowed = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
        assert await read_manifest(f"{upstream.base}/m", allowed) == {}


async def test_a_manifest_that_arrives_slowly_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iiif_server.commands.warm.manifests._MAX_SECONDS", 0.2)

    def dripping(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "60000")
        handler.end_headers()
        with suppress(OSError):
            for _ in range(600):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)

    with running_upstream() as upstream:
        upstream.replies["/m"] = dripping
        with pytest.raises(ConfigurationError, match="it takes more than"):
            await read_manifest(f"{upstream.base}/m")


@pytest.mark.parametrize("ignored", [False, True], ids=["", "as a background job of a script"])
def test_a_signal_ends_a_run_that_waits_for_a_manifest(config: Path, ignored: bool) -> None:  # noqa: FBT001
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/m"
        ignoring = ["env", "--ignore-signal=INT"] if ignored else []
        command = [sys.executable, "-m", "iiif_server", "warm", "--config", str(config)]
        run = subprocess.Popen(
            [*ignoring, *command, "--manifest", url],
            stderr=subprocess.PIPE,
            text=True,
            env=server_environment(),
        )
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            run.send_signal(signal.SIGTERM)
            _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said


class Http:
    """A server of images as its clients see it."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.url = upstream.base
        self.add("", V3)
        self.add("iiif/2/", V2)

    def add(self, prefix: str, version: Any, name: str = "disk:a%2Fb.jpg", **more: Any) -> None:
        information = image_information(version, "", SIZE, Service(Limits(), (), 200)) | more
        reply = send(json.dumps(information).encode(), "application/json")
        self.upstream.replies[f"/{prefix}{name}/info.json"] = reply
        for path in paths(version):
            self.upstream.replies[f"/{prefix}{name}/{path}"] = send(b"image")


@pytest.fixture
def http() -> Iterator[Http]:
    with running_upstream() as upstream:
        yield Http(upstream)


def expected(prefix: str, version: Any, name: str = "disk:a%2Fb.jpg") -> set[str]:
    return {f"/{prefix}{name}/{path}" for path in {"info.json", *paths(version)}}


def test_both_versions_are_requested_letter_by_letter(http: Http) -> None:
    result = warm(None, "--against", f"{http.url}/", "disk:a%2Fb.jpg")
    assert result.exit_code == 0, result.output
    asked = http.upstream.targets()[1:]
    assert len(set(asked)) == len(asked)
    assert set(asked) == expected("", V3) | expected("iiif/2/", V2)
    assert f"2 image services warmed: {len(asked) - 2} requests; 0 failed." in result.output


def test_a_url_of_one_version_is_that_of_its_images(http: Http) -> None:
    assert warm(None, "--against", f"{http.url}/iiif/2", "disk:a%2Fb.jpg").exit_code == 0
    assert set(http.upstream.targets()[1:]) == expected("iiif/2/", V2)


def test_a_manifest_may_be_read_from_the_server_itself(http: Http) -> None:
    service = {"id": f"{BASE}/disk:a%2Fb.jpg", "type": "ImageService3"}
    content = json.dumps({"type": "Manifest", "service": [service]}).encode()
    http.upstream.replies["/m"] = send(content, "application/json")
    arguments = ["--manifest", f"{http.url}/m", "--against", http.url]
    result = CliRunner(env={"IIIF_BASE_URL": BASE}).invoke(main, ["warm", *arguments])
    assert result.exit_code == 0, result.output
    assert set(http.upstream.targets()[2:]) == expected("", V3)


def test_redirects_to_canonical_urls_are_followed(http: Http) -> None:
    path = "/disk:a%2Fb.jpg/full/90,/0/default.jpg"
    http.upstream.replies[path] = send(b"", code=303, Location="/disk:a%2Fb.jpg/full/90,64")
    http.upstream.replies["/disk:a%2Fb.jpg/full/90,64"] = send(b"image")
    assert warm(None, "--against", f"{http.url}", "disk:a%2Fb.jpg").exit_code == 0
    assert http.upstream.count("/disk:a%2Fb.jpg/full/90,64") == 1


def test_redirects_that_do_not_end_are_failures(http: Http) -> None:
    path = "/disk:a%2Fb.jpg/full/90,/0/default.jpg"
    http.upstream.replies[path] = send(b"", code=303, Location=path)
    result = warm(None, "--against", http.url, "disk:a%2Fb.jpg")
    assert "full/90,/0/default.jpg: 303" in result.output
    assert result.exit_code == 1


def test_failures_are_listed_and_few_requests_follow(http: Http) -> None:
    for path in list(http.upstream.replies):
        if path.startswith("/disk") and "info" not in path:
            del http.upstream.replies[path]  # 404
    result = warm(None, "--against", http.url, "--parallel", "1", "disk:a%2Fb.jpg", "disk:gone")
    assert result.exit_code == 1
    assert "failed  disk:a%2Fb.jpg/" in result.output
    assert "failed  disk:gone/info.json: 404" in result.output
    assert "1 image services warmed" in result.output
    assert len([path for path in http.upstream.targets() if path.startswith("/disk:a")]) == 4


def test_what_may_pass_is_repeated(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iiif_server.commands.bulk.running._RETRY_SECONDS", 0)
    path = "/disk:a%2Fb.jpg/full/90,/0/default.jpg"

    def recovering(handler: Handler) -> None:
        http.upstream.replies[path] = send(b"image")
        status(503)(handler)

    http.upstream.replies[path] = recovering
    result = warm(None, "--against", f"{http.url}/iiif/..", "--retries", "0", "disk:a%2Fb.jpg")
    assert result.exit_code == 1
    http.upstream.replies[path] = recovering
    result = warm(None, "--against", http.url, "disk:a%2Fb.jpg")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not json", "Expecting value"),
        (b"{}", "no info.json of an image"),
        (b"[" * 100_000, "recursion"),
        (b'{"a":' + b" " * (2 << 20) + b"1}", "Expecting value"),
        (
            json.dumps({"@context": V3.context, "width": 1 << 30, "height": 1 << 30}).encode(),
            "",
        ),
    ],
)
def test_hostile_information_is_a_failure(http: Http, content: bytes, reason: str) -> None:
    http.upstream.replies["/disk:a%2Fb.jpg/info.json"] = send(content, "application/json")
    result = warm(None, "--against", f"{http.url}", "--all", "disk:a%2Fb.jpg")
    assert result.exit_code == 1
    assert "failed  disk:a%2Fb.jpg" in result.output
    assert reason in result.output


def test_files_that_are_no_images_are_no_failures_over_http(http: Http) -> None:
    for prefix in ("", "iiif/2/"):
        http.upstream.replies[f"/{prefix}disk:notes.txt/info.json"] = status(415)
    result = warm(None, "--against", http.url, "disk:notes.txt")
    assert "0 failed, 2 no images." in result.output
    assert result.exit_code == 0


def test_a_full_disk_is_a_failure_and_no_success(config: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 4) as disk:
        text = config.read_text().replace(f"{tmp_path}/cache", str(disk.folder))
        config.write_text(f"{text}[cache]\nmin_free = 0\n")
        disk.fill()
        result = warm(config, "--retries", "0", "disk:small.jpg", "disk:a.jpg")
        assert result.exit_code == 1
        assert "failed  disk:small.jpg: " in result.output
        assert "2 failed." in result.output
        disk.empty()
        assert warm(config, "disk:small.jpg", "disk:a.jpg").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_failures(
    config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "source" / "disk"
    (folder / "0.tif").write_text("no image")
    for copy in range(400):
        os.link(folder / "a.jpg", folder / f"{copy}.jpg")
    command = [sys.executable, "-m", "iiif_server", "warm", "--config", str(config)]
    run = subprocess.Popen(
        [*command, "--type", "disk"], stderr=subprocess.PIPE, text=True, env=server_environment()
    )
    ended = threading.Event()
    while len(list(tmp_path.glob("cache/derivatives/**/*.szi"))) < 6:  # of three images
        assert run.poll() is None
        ended.wait(0.02)
    run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "failed  disk:0.tif: " in said
    assert "Interrupted. Repeat the command" in said
    assert "Traceback" not in said
