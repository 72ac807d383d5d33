"""Migration of a Cantaloupe configuration with three sources and a delegate."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.apps import picture, running_process
from support.moto_store import BUCKET, running_store
from support.servers import server_environment
from support.upstream import running_upstream, send

pytestmark = pytest.mark.e2e

OLD = """
http.port = 8182
slash_substitute = ~~
source.static = FilesystemSource
source.delegate = true
delegate_script.enabled = false
FilesystemSource.lookup_strategy = ScriptLookupStrategy
FilesystemSource.BasicLookupStrategy.path_prefix = {root}/scans/
HttpSource.lookup_strategy = ScriptLookupStrategy
HttpSource.BasicLookupStrategy.url_prefix = {upstream}/
S3Source.lookup_strategy = ScriptLookupStrategy
S3Source.endpoint = {store}
S3Source.region = us-east-1
S3Source.BasicLookupStrategy.bucket.name = {bucket}
FilesystemCache.pathname = {root}/cache
"""


def run_iiif_server(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "iiif_server", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_old_urls_are_served_from_the_source_of_the_delegate(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.jpg").write_bytes(picture(90, 60))
    old, target = tmp_path / "cantaloupe.properties", tmp_path / "settings.toml"
    with running_store() as store, running_upstream() as upstream:
        upstream.replies["/x/2.jpg"] = send(picture(80, 70))
        store.client("s3").put_object(Bucket=BUCKET, Key="deep/3.jpg", Body=picture(50, 40))
        keys = store.user("reader", ["s3:GetObject"])
        store.lock()
        names = {"root": tmp_path, "upstream": upstream.base, "store": store.url, "bucket": BUCKET}
        old.write_text(OLD.format(**names))
        migrated = run_iiif_server("migrate", old, "--to", target)
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        with (tmp_path / "identifiers.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "type", "path", "url"])
            rows.writerow(["ms/1", "scans", f"{tmp_path}/scans/1.jpg", ""])
            rows.writerow(["ms/2", "web", "", f"{upstream.base}/x/2.jpg"])
            rows.writerow(["ms/3", "s3", "", f"s3://{BUCKET}/deep/3.jpg"])
        environment = {"AWS_ACCESS_KEY_ID": keys.key, "AWS_SECRET_ACCESS_KEY": keys.secret}
        with running_process(
            "--config", str(target), environment={**server_environment(), **environment}
        ) as process:
            for name, size in (("ms{}1", (90, 60)), ("ms{}2", (80, 70)), ("ms{}3", (50, 40))):
                for slash in ("%2F", "~~"):
                    for version in (2, 3):
                        url = f"{process.base}/iiif/{version}/{name.format(slash)}"
                        got = httpx.get(f"{url}/info.json", trust_env=False, timeout=30)
                        assert got.status_code == 200, (url, got.text)
                        document = got.json()
                        assert (document["width"], document["height"]) == size
                        assert document.get("id", document.get("@id")) == url
                tile = httpx.get(
                    f"{process.base}/iiif/2/{name.format('~~')}/full/20,/0/default.jpg",
                    trust_env=False,
                    timeout=30,
                )
                assert tile.status_code == 200
            listed = tmp_path / "listed"
            listed.write_text("ms%2F1\nms~~2\nms%2F3\nms%2F4\n")
            base = f"{process.base}/iiif/2"
            compared = run_iiif_server("compare", base, base, "--identifiers", listed, "--json")
            assert compared.returncode == 0, compared.stderr
            outcomes = [json.loads(line)["requests"] for line in compared.stdout.splitlines()]
            assert sorted(outcomes) == [1, 2, 2, 2]
