"""Originals in an object store: a real server, and moto's S3 with IAM over HTTP."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from iiif_server.settings import load_settings
from support import pictures, tiffs
from support.apps import running_app
from support.gigapixel import SIDE, TILE, gigapixel
from support.moto_store import BUCKET, Keys, Store, running_store
from support.relay import Relay
from support.servers import TRUST, Server, running_server, server_environment

pytestmark = pytest.mark.e2e

MAX_REQUESTS, MAX_BYTES = 8, 1_000_000


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/{path}", trust_env=False, verify=TRUST, timeout=60)


PAGE = Path(__file__).parents[2] / "docs/sources/objects.md"


@dataclass(frozen=True)
class Site:
    """Server with an object store."""

    server: Server
    store: Store
    relay: Relay
    tiles: dict[str, bytes]
    good: Keys
    environment: dict[str, str]
    settings: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("objects")
    with running_store() as store, Relay(store.port).running() as relay:
        tiles = {}
        client = store.client("s3")
        for name, big in (("classic", False), ("big", True)):
            tiles[name] = gigapixel(folder / name, big=big)
            client.upload_file(str(folder / name), BUCKET, f"{name}.tif")
            (folder / name).unlink()
        photograph = pictures.photograph(900, 700)
        client.put_object(Bucket=BUCKET, Key="photo.jpg", Body=pictures.jpeg(photograph))
        client.put_object(
            Bucket=BUCKET, Key="strips.tif", Body=pictures.tiff(pictures.vips(photograph, "srgb"))
        )
        client.put_object(Bucket=BUCKET, Key="pyramid.tif", Body=tiffs.tiled(photograph))
        client.put_object(
            Bucket=BUCKET, Key="Ordner/ein #1 Bild%20.jpg", Body=pictures.jpeg(photograph)
        )
        good = store.user("good", ["s3:GetObject", "s3:ListBucket"])
        denied = store.user("denied", ["s3:GetBucketLocation"])
        store.lock()
        (folder / "aws").write_text(
            f"[works]\naws_access_key_id={good.key}\naws_secret_access_key={good.secret}\n"
            f"[expired]\naws_access_key_id={good.key}\naws_secret_access_key={good.secret}\n"
            "aws_session_token=of-yesterday\n"
        )
        settings = "".join(
            f'[types.{name}]\nsource = "objects"\nurl = "s3://{bucket}/{{name}}"\n'
            f'endpoint = "{endpoint}"\nregion = "us-east-1"\n{more}\n'
            for name, bucket, endpoint, more in (
                ("good", BUCKET, relay.url, good.toml),
                ("environment", BUCKET, relay.url, ""),
                ("profile", BUCKET, relay.url, 'profile = "works"'),
                ("wrong_key", BUCKET, relay.url, Keys("AKIAUNKNOWN", "x" * 20).toml),
                ("wrong_secret", BUCKET, relay.url, Keys(good.key, "x" * 20).toml),
                ("expired", BUCKET, relay.url, 'profile = "expired"'),
                ("denied", BUCKET, relay.url, denied.toml),
                ("no_bucket", "another-bucket", relay.url, good.toml),
                ("down", BUCKET, "http://127.0.0.1:9", good.toml),
            )
        )
        environment = {
            "AWS_ACCESS_KEY_ID": good.key,
            "AWS_SECRET_ACCESS_KEY": good.secret,
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws"),
        }
        with running_server(folder, settings, environment) as server:
            config = folder / "settings.toml"
            yield Site(server, store, relay, tiles, good, environment, config)


@pytest.mark.parametrize("name", ["classic", "big"])
def test_tile_of_a_gigapixel_takes_few_requests_and_bytes(site: Site, name: str) -> None:
    site.relay.reset()
    information = get(site.server, f"good:{name}.tif/info.json")
    assert information.status_code == 200, information.text
    assert (information.json()["width"], information.json()["height"]) == (SIDE, SIDE)
    x = 77 * TILE
    tile = get(site.server, f"good:{name}.tif/{x},{x},{TILE},{TILE}/{TILE},/0/default.jpg")
    assert tile.status_code == 200, tile.text
    # The tile itself, with no loss: all but its first marker.
    assert tile.content.endswith(site.tiles[name][2:])
    assert len(site.relay.requests) <= MAX_REQUESTS
    assert site.relay.received <= MAX_BYTES
    assert all("if-match" in head.lower() for head in site.relay.heads[1:])


def test_originals_without_tiles_are_fetched_whole_and_once(site: Site) -> None:
    for name in ("good:photo.jpg", "good:strips.tif", "good:Ordner%2Fein%20%231%20Bild%2520.jpg"):
        site.relay.reset()
        for _ in range(2):
            answer = get(site.server, f"{name}/full/200,/0/default.jpg")
            assert answer.status_code == 200, answer.text
        assert get(site.server, f"{name}/info.json").json()["width"] == 900
        # Of a TIFF, its start and its directory tell that it has no tiles.
        assert len(site.relay.requests) == (3 if "strips" in name else 1)


@pytest.mark.parametrize("type_", ["environment", "profile"])
def test_credentials_are_read_from_environment_and_profile(site: Site, type_: str) -> None:
    answer = get(site.server, f"{type_}:pyramid.tif/full/max/0/default.jpg")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("type_", "advice"),
    [
        ("wrong_key", "InvalidAccessKeyId: the store does not know the access key"),
        ("wrong_secret", "SignatureDoesNotMatch: the secret access key"),
        ("expired", "InvalidToken: the session token is invalid: renew"),
        ("denied", "AccessDenied: permission to read objects is missing (s3:GetObject)"),
        ("no_bucket", "NoSuchBucket: the bucket does not exist"),
        ("down", "error sending request"),
    ],
)
@pytest.mark.parametrize("name", ["photo.jpg", "pyramid.tif"])
def test_store_failure_is_502_and_explained_in_the_log(
    site: Site, type_: str, name: str, advice: str
) -> None:
    answer = get(site.server, f"{type_}:{name}/info.json")
    assert answer.status_code == 502
    for secret in (BUCKET, "another-bucket", site.relay.url, "127.0.0.1", site.good.key):
        assert secret not in answer.text.replace(site.server.url, "")
    log = site.server.log.read_text()
    assert advice in log
    assert site.good.secret not in log
    assert "x" * 20 not in log


@pytest.mark.parametrize("name", ["missing.jpg", "missing.tif", "a//b.jpg", "%2E%2E%2Fphoto.jpg"])
def test_missing_key_is_404(site: Site, name: str) -> None:
    answer = get(site.server, f"good:{name}/info.json")
    assert answer.status_code == 404
    assert BUCKET not in answer.text


def test_check_reports_the_problem_of_each_type(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iiif_server", "check", "--config", str(site.settings)],
        env={**server_environment(), **site.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    output = " ".join((done.stdout + done.stderr).split())
    for expected in (
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "s3:GetObject",
        "NoSuchBucket",
        "error sending request",
    ):
        assert expected in output
    for secret in (site.good.secret, "x" * 20):
        assert secret not in output


def test_gallery_lists_a_bucket(site: Site) -> None:
    page = get(site.server, "?folder=good:")
    assert page.status_code == 200, page.text
    assert "photo.jpg" in page.text
    assert "Ordner" in page.text
    assert "ein #1 Bild%20.jpg" in get(site.server, "?folder=good:Ordner").text


async def test_configuration_of_the_object_store_page_works(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site.environment.items():
        monkeypatch.setenv(name, value)
    (printed,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "settings.toml").write_text(
        'source_path = "source"\ncache_path = "cache"\n'
        + printed.replace("https://minio.example.org", site.relay.url)
    )
    async with running_app(load_settings(tmp_path / "settings.toml")) as server:
        assert (await server.get("/scans:pyramid/info.json")).json()["width"] == 900
