"""Source `lookup`: a table, database or HTTP service resolves names."""

import asyncio
import json
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from iiif_server.errors import ConfigurationError
from iiif_server.settings import load_settings
from iiif_server.telemetry.events import (
    LookupFailed,
    LookupRowsMalformed,
    LookupTableKept,
    LookupTableRead,
    SourceFailed,
)
from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.upstream import compressed, delayed, redirect, running_upstream, send, status

MINE = {"authorization": "Bearer mine"}
CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
HUSH = "hush"
INC = "http://rightsstatements.org/vocab/InC/1.0/"


@asynccontextmanager
async def serving(
    root: Path, others: dict[str, Any] | None = None, **lookup: Any
) -> AsyncIterator[Server]:
    """The type `t`, which looks up, over the internal type `files` and others."""
    others = {"files": {"source": "disk", "access": "internal"}, **(others or {})}
    one = {"source": "lookup", "types": list(others), "missing_ttl": 0, "failure_ttl": 0, **lookup}
    settings = settings_below(root, fetch=fetch_options(), types={"t": one, **others})
    async with running_app(settings) as server:
        server.put("files", "a.jpg", picture())
        server.put("files", "deep/b.jpg", picture(90, 60))
        yield server


def answered(**answer: Any) -> Any:
    """What a service sends."""
    return send(json.dumps(answer).encode(), "application/json")


def only_with(authorization: str, reply: Any) -> Any:
    """A reply to those who send the right credentials; 401 to others."""

    def answer(handler: Any) -> None:
        right = handler.headers.get_all("Authorization") == [authorization]
        (reply if right else status(401))(handler)

    return answer


async def size(server: Server, name: str) -> tuple[int, int] | int:
    response = await server.get(f"/t:{quote(name, safe='')}/info.json")
    if response.status_code != 200:
        return response.status_code
    document = response.json()
    return document["width"], document["height"]


class TestTable:
    @pytest.mark.parametrize("absolute", [False, True])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    async def test_rows_of_csv_name_files(
        self, tmp_path: Path, delimiter: str, *, absolute: bool
    ) -> None:
        folder = f"{tmp_path}/source/files/" if absolute else ""
        rows = [
            ("title", "id", "path"), ("A", "1", f"{folder}a.jpg"), ('"B, ""b"";"', "2/x",
             f"{folder}deep/b.jpg"),
        ]  # fmt: skip
        table = tmp_path / "t.csv"
        text = "\r\n".join(map(delimiter.join, rows))
        table.write_bytes(b"\xef\xbb\xbf" + text.encode())
        async with serving(tmp_path, table=table) as server:
            assert await size(server, "1") == (200, 150)
            assert await size(server, "2/x") == (90, 60)
            assert await size(server, "3") == 404
            assert (await server.get("/files:a.jpg/info.json")).status_code == 404
            assert list(server.services.originals.source("t").names() or ()) == ["1", "2/x"]

    async def test_names_may_be_anything(self, tmp_path: Path) -> None:
        names = ["a'b", '"', "%2e%2e", "../x", "ü/é", "1,2", "x;2", ":name", "$(id)", "-"]
        table = tmp_path / "t.jsonl"
        lines = [json.dumps({"id": name, "path": "a.jpg"}) for name in names]
        table.write_text("\n".join([*lines, "", '{"id": 7, "name": "deep/b.jpg"}', ""]))
        async with serving(tmp_path, table=table) as server:
            for name in names:
                assert await size(server, name) == (200, 150), name
            assert await size(server, "7") == (90, 60)

    async def test_malformed_rows_are_told_with_their_lines(self, tmp_path: Path) -> None:
        table = tmp_path / "t.csv"
        table.write_bytes(
            b"id,path,rights,max_width\n1,a.jpg,,\n2,a.jpg\n3,,,\n4,a.jpg,CC-BY,\n5,a.jpg,,wide\n"
            b"6,\xff,,\n" + b"7," + b"x" * 70_000 + b",,\n1,deep/b.jpg,,\n,a.jpg,,\n8,a.jpg,,\n"
        )
        async with serving(tmp_path, table=table) as server:
            assert await size(server, "8") == (200, 150)
            assert await size(server, "1") == (200, 150)
            assert [await size(server, str(n)) for n in range(2, 8)] == [404] * 6
            (told,) = server.events_of(LookupRowsMalformed)
        assert told.number == 8
        for line, words in {
            3: "2 columns",
            4: "none of path, url, name",
            5: "rights",
            6: "max_width",
            7: "UTF-8",
            8: "longer than",
            9: "id of an earlier row",
            10: "no id",
        }.items():
            part = next(
                p
                for p in told.examples.split("; line ")
                if p.startswith((f"{line} ", f"line {line} "))
            )
            assert words in part

    async def test_malformed_lines_of_json_are_told(self, tmp_path: Path) -> None:
        table = tmp_path / "t.jsonl"
        table.write_text('[1]\n{"id": "1", "path": "a.jpg"}\n{"id": \n' + "[" * 60_000 + "\n")
        async with serving(tmp_path, table=table) as server:
            assert await size(server, "1") == (200, 150)
            (told,) = server.events_of(LookupRowsMalformed)
        assert told.examples == "line 1 is not an object; line 3 is not JSON; line 4 is not JSON"

    @pytest.mark.parametrize(
        ("half", "reason"),
        [
            (b"id,path\n1,a.jpg\n2,de", "last line"),
            (b"", "empty"),
            (b"id,path\n", "no rows"),
            (b"name,where\n1,a.jpg\n", "first line"),
            ("id,path\n1,a.jpg\n".encode("utf-16"), "first line"),
            (None, "No such file"),
        ],
    )
    async def test_a_table_is_read_again_but_not_one_that_is_not_whole(
        self, tmp_path: Path, half: bytes | None, reason: str
    ) -> None:
        table = tmp_path / "t.csv"
        table.write_text("id,path\n1,a.jpg\n")
        async with serving(tmp_path, table=table) as server:
            source: Any = server.services.originals.source("t")
            assert await size(server, "1") == (200, 150)

            async def changed(content: bytes | None) -> None:
                if content is None:
                    table.unlink()
                else:
                    table.write_bytes(content)
                    os.utime(table, (1, 1 + len(content)))
                source._lookup._checked = 0.0
                await source._lookup.find("1")
                await source._lookup._background.wait()
                server.services.images._images.clear()  # as a second later

            await changed(half)
            assert reason in server.events_of(LookupTableKept)[-1].reason
            assert await size(server, "1") == (200, 150)
            assert await size(server, "2") == 404
            await changed(b"id,path\n2,deep/b.jpg\n")
            assert await size(server, "2") == (90, 60)
            assert await size(server, "1") == 404
            assert [told.rows for told in server.events_of(LookupTableRead)] == [1, 1]

    async def test_a_table_that_has_just_changed_is_left_alone_for_a_second(
        self, tmp_path: Path
    ) -> None:
        table = tmp_path / "t.csv"
        table.write_text("id,path\n1,a.jpg\n")
        async with serving(tmp_path, table=table) as server:
            lookup: Any = server.services.originals.source("t")._lookup  # type: ignore[attr-defined]
            await lookup.find("1")
            table.write_text("id,path\n1,deep/b.jpg\n")
            os.utime(table, (2**33, 2**33))  # its clock may be another one
            for expected in ("a.jpg", "deep/b.jpg"):  # the second time it is as it was
                lookup._checked = 0.0
                answer = await lookup.find("1")
                assert answer.path == expected

    async def test_a_table_that_is_missing_is_told_and_found_later(self, tmp_path: Path) -> None:
        table = tmp_path / "t.csv"
        async with serving(tmp_path, table=table) as server:
            assert_problem(await server.get("/t:1/info.json"), 502, "table")
            assert "No such file" in (await server.services.originals.problems(5))["t"][0]
            table.write_text("id,path\n1,a.jpg\n")
            assert await size(server, "1") == (200, 150)
            assert (await server.services.originals.problems(5))["t"] == []

    async def test_a_fifo_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "t.csv")
        async with serving(tmp_path, table=tmp_path / "t.csv") as server:
            assert await size(server, "1") == 502


class TestContainment:
    @pytest.mark.parametrize(
        "path",
        ["/etc/passwd", "../secret.jpg", "deep/../../secret.jpg", "link.jpg", ".hidden.jpg", "\0",
         "{root}/source/files/../secret.jpg", "{root}/source/filesystem/x.jpg", "//etc/passwd"],
    )  # fmt: skip
    async def test_paths_stay_in_the_folder_of_the_type(self, tmp_path: Path, path: str) -> None:
        table = tmp_path / "t.jsonl"
        path = path.replace("{root}", str(tmp_path))
        table.write_text(json.dumps({"id": "1", "path": path}))
        async with serving(tmp_path, table=table) as server:
            folder = server.settings.source_path
            for name in ("secret.jpg", "files/.hidden.jpg", "filesystem/x.jpg"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(picture())
            (folder / "files" / "link.jpg").symlink_to(folder / "secret.jpg")
            assert_problem(await server.get("/t:1/info.json"), 404)
            assert not path.startswith("/etc") or server.events_of(SourceFailed)

    async def test_a_url_for_a_type_on_disk_is_told(self, tmp_path: Path) -> None:
        table = tmp_path / "t.csv"
        table.write_text("id,url\n1,https://example.org/a.jpg\n")
        async with serving(tmp_path, table=table) as server:
            assert_problem(await server.get("/t:1/info.json"), 404)
            (event,) = server.events_of(SourceFailed)
            assert event.reason == "a lookup gives this URL to a type on disk"
            assert event.path == "https://example.org/a.jpg"

    async def test_urls_have_to_be_trusted(self, tmp_path: Path) -> None:
        with running_upstream() as upstream:
            upstream.otherwise = send(picture())
            trusted = {"source": "trusted_web", "regex": rf"{upstream.base}/open/.*"}
            table = tmp_path / "t.csv"
            table.write_text(
                f"id,url,type\n1,{upstream.base}/open/1.jpg,web\n2,{upstream.base}/shut/1.jpg,web\n"
                f"3,{upstream.base}/open/1.jpg,files\n4,{upstream.base}/open/1.jpg,secret\n"
            )
            async with serving(tmp_path, {"web": trusted}, table=table) as server:
                assert [await size(server, n) for n in "1234"] == [(200, 150), 400, 404, 502]
                assert "'secret'" in server.events_of(LookupFailed)[-1].reason
            assert upstream.targets() == ["/open/1.jpg"]

    async def test_what_headers_of_an_answer_fetch_is_had_by_the_lookup_only(
        self, tmp_path: Path
    ) -> None:
        with running_upstream() as upstream:
            upstream.otherwise = only_with("Bearer mine", send(picture()))
            web = {"source": "trusted_web", "regex": f"{upstream.base}/.*", "bearer_token": "type"}
            url = f"{upstream.base}/1.jpg"
            row = {
                "id": "1",
                "url": url,
                "type": "web",
                "headers": {"authorization": "Bearer mine"},
            }
            (tmp_path / "t.jsonl").write_text(json.dumps(row))
            async with serving(tmp_path, {"web": web}, table=tmp_path / "t.jsonl") as server:
                assert await size(server, "1") == (200, 150)
                kept = [p.name for p in (tmp_path / "source/web/with-headers").iterdir()]
                for name in (kept[0], f"with-headers/{kept[0]}"):
                    got = await server.get(f"/web:{quote(name, safe='')}/info.json")
                    assert got.status_code in {400, 502}
            assert upstream.targets() == ["/1.jpg"] * 2

    @pytest.mark.parametrize(
        ("options", "code"),
        [({"prefix": "open/"}, 404), ({"suffix": ".tif"}, 404), ({"template": "{name[0:1]}"}, 404),
         ({"prefix": "deep/", "suffix": ".jpg"}, (90, 60)), ({"extensions": ["png"]}, (90, 60))],
    )  # fmt: skip
    async def test_paths_are_those_that_names_lead_to(
        self, tmp_path: Path, options: dict[str, Any], code: Any
    ) -> None:
        (tmp_path / "t.csv").write_text("id,path\n1,deep/b.jpg\n")
        files = {"files": {"source": "disk", "access": "internal", **options}}
        async with serving(tmp_path, files, table=tmp_path / "t.csv") as server:
            assert await size(server, "1") == code

    async def test_paths_may_be_in_any_of_the_folders(self, tmp_path: Path) -> None:
        folders = [tmp_path / "x", tmp_path / "y"]
        for folder in folders:
            folder.mkdir()
        (tmp_path / "link").symlink_to(folders[1])
        (folders[1] / "1.jpg").write_bytes(picture())
        table = tmp_path / "t.csv"
        table.write_text(f"id,path\n1,{folders[1]}/1.jpg\n2,1.jpg\n3,{tmp_path}/link/1.jpg\n")
        files = {"files": {"source": "disk", "path": [folders[0], tmp_path / "link"]}}
        async with serving(tmp_path, files, table=table) as server:
            assert [await size(server, n) for n in "123"] == [(200, 150)] * 3


class TestTerms:
    async def test_rights_and_limits_of_an_image_are_published_and_hold(
        self, tmp_path: Path
    ) -> None:
        table = tmp_path / "t.jsonl"
        rows = [
            {"id": "1", "path": "a.jpg", "rights": INC, "limits": {"maxWidth": 100}},
            {"id": "2", "path": "a.jpg"},
            {"id": "3", "path": "a.jpg", "max_area": 10_000},
        ]
        table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        async with serving(tmp_path, table=table, rights=CC0) as server:
            documents = [(await server.get(f"/t:{n}/info.json")).json() for n in (1, 2, 3)]
            assert [document["rights"] for document in documents] == [INC, CC0, CC0]
            assert (documents[0]["maxWidth"], documents[0]["maxHeight"]) == (100, 100)
            assert "maxWidth" not in documents[1]
            assert documents[2]["maxArea"] == 10_000
            assert "sizeUpscaling" not in documents[0] or documents[0]["maxWidth"] == 100
            for request, code in {
                "full/max": 200, "full/100,": 200, "full/101,": 400, "full/^150,": 400,
                "full/pct:60": 400, "0,0,50,50/^101,": 400, "0,0,50,50/50,": 200,
            }.items():  # fmt: skip
                got = await server.get(f"/t:1/{request}/0/default.jpg")
                assert got.status_code == code, request
            assert (await server.get("/iiif/2/t:1/full/full/0/default.jpg")).status_code == 400
            assert (await server.get("/t:2/full/150,/0/default.jpg")).status_code == 200
            assert (await server.get("/t:2/full/max/0/default.jpg")).content == picture()
            assert (await server.get("/iiif/2/t:1/info.json")).json()["license"] == INC
            manifest = (await server.get("/t:1/manifest.json")).text
            assert INC in manifest

    async def test_new_terms_hold_at_once_for_cached_images(self, tmp_path: Path) -> None:
        with running_upstream() as service:
            service.replies["/1"] = answered(path="a.jpg")
            async with serving(tmp_path, url=f"{service.base}/{{name}}", found_ttl=0) as server:
                assert (await server.get("/t:1/full/150,/0/default.jpg")).status_code == 200
                service.replies["/1"] = answered(path="a.jpg", max_width=100, rights=CC0)
                server.services.images._images.clear()
                assert (await server.get("/t:1/full/150,/0/default.jpg")).status_code == 400
                assert (await server.get("/t:1/info.json")).json()["rights"] == CC0

    async def test_another_file_of_the_same_size_and_time_is_another_image(
        self, tmp_path: Path
    ) -> None:
        with running_upstream() as service:
            service.replies["/1"] = answered(path="x.bmp")
            async with serving(tmp_path, url=f"{service.base}/{{name}}", found_ttl=0) as server:
                for name, data in {
                    "x.bmp": picture(40, 30, "BMP"),
                    "y.bmp": bytes(reversed(picture(40, 30, "BMP")[54:])),
                }.items():
                    whole = data if name == "x.bmp" else picture(40, 30, "BMP")[:54] + data
                    os.utime(server.put("files", name, whole), (1, 1))
                first = await server.get("/t:1/full/20,/0/default.png")
                service.replies["/1"] = answered(path="y.bmp")
                server.services.images._images.clear()
                second = await server.get("/t:1/full/20,/0/default.png")
                assert first.status_code == second.status_code == 200
                assert first.content != second.content
                assert first.headers["etag"] != second.headers["etag"]


class TestService:
    async def test_a_service_is_asked_once_and_its_answer_remembered(self, tmp_path: Path) -> None:
        with running_upstream() as service:
            service.otherwise = delayed(0.1, answered(path="a.jpg", unknown=1))
            url = f"{service.base}/look/{{name}}?id={{name}}"
            async with serving(tmp_path, url=url, bearer_token=HUSH) as server:
                await asyncio.gather(*(size(server, "a/ü.tif") for _ in range(8)))
                assert await size(server, "a/ü.tif") == (200, 150)
                assert await size(server, "..") == 404
            assert service.targets() == ["/look/a%2F%C3%BC.tif?id=a%2F%C3%BC.tif"]
            assert service.requests[0].headers["Authorization"] == "Bearer hush"

    @pytest.mark.parametrize(
        ("reply", "code", "reason"),
        [
            (status(404), 404, ""),
            (status(410), 404, ""),
            (status(403), 502, "status 403"),
            (status(500), 502, "status 500"),
            (redirect("/elsewhere"), 502, "status 302"),
            (send(b"<html>"), 502, "JSONDecodeError"),
            (send(b"[" * 50_000), 502, "Recursion"),
            (send(b" " * 100_000), 502, "more than"),
            (compressed(b'{"path": "a.jpg"}'), 502, "compressed"),
            (answered(), 502, "none of path, url, name"),
            (answered(path="a.jpg", url="http://x/"), 502, "of which one is needed"),
            (answered(path="a.jpg", rights="CC0"), 502, "rights"),
            (answered(path="a.jpg", limits={"width": 1}), 502, "no limit"),
            (answered(path="a.jpg", max_height=1), 502, "max_width"),
            (answered(url="http://x/", headers={"a": "b\r\nc: d"}), 502, "header"),
            (delayed(3, answered(path="a.jpg")), 504, "Timeout"),
        ],
    )
    async def test_what_a_service_may_answer(
        self, tmp_path: Path, reply: Any, code: int, reason: str
    ) -> None:
        with running_upstream() as service:
            service.otherwise = reply
            url = f"{service.base}/{{name}}?secret=hush"
            seconds = 0.5 if code == 504 else 30  # a busy machine answers late
            async with serving(tmp_path, url=url, lookup_timeout=seconds) as server:
                assert_problem(await server.get("/t:1/info.json"), code)
                told = [event.reason for event in server.events_of(LookupFailed)]
                assert bool(told) == (code != 404)
                assert reason in "".join(told)
                assert "hush" not in "".join(told)

    async def test_a_service_that_is_down_is_502(self, tmp_path: Path) -> None:
        url = "http://127.0.0.1:9/{name}"
        async with serving(tmp_path, url=url) as server:
            assert_problem(await server.get("/t:1/info.json"), 502, "lookup")

    async def test_lifetimes(self, tmp_path: Path) -> None:
        with running_upstream() as service:
            service.replies |= {
                "/kept": answered(path="a.jpg"),
                "/brief": answered(path="a.jpg", cache_for=0),
            }
            url = f"{service.base}/{{name}}"
            async with serving(tmp_path, url=url, missing_ttl=60, failure_ttl=60) as server:
                service.replies["/failing"] = status(500)
                for name in ("kept", "brief", "missing", "failing") * 2:
                    await size(server, name)
                    server.services.images._images.clear()
            counts = [service.count(f"/{n}") for n in ("kept", "brief", "missing", "failing")]
            assert counts == [1, 2, 1, 1]


class TestDatabase:
    @pytest.fixture
    def database(self, tmp_path: Path) -> str:
        with closing(sqlite3.connect(tmp_path / "c.db")) as database, database:
            database.execute("CREATE TABLE images (id TEXT, path TEXT, max_width INT, type TEXT)")
            database.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?)",
                [("1", "a.jpg", None, None), ("x' OR '1'='1", "deep/b.jpg", 50, "files")],
            )
        return f"sqlite:///{tmp_path}/c.db"

    SQL = "SELECT path, max_width, type FROM images WHERE id = :name"

    async def test_rows_are_found_by_a_bound_parameter(self, tmp_path: Path, database: str) -> None:
        async with serving(tmp_path, sql=self.SQL, database=database) as server:
            assert await size(server, "1") == (200, 150)
            assert await size(server, "x' OR '1'='1") == (90, 60)
            assert await size(server, "y' OR '1'='1") == 404
            assert await size(server, "1'; DROP TABLE images; --") == 404
            assert (await server.services.originals.problems(5))["t"] == []

    @pytest.mark.parametrize(
        ("sql", "reason"),
        [("SELECT path FROM missing WHERE id = :name", "no such table"),
         ("SELECT id FROM images WHERE id = :name", "none of path, url, name")],
    )  # fmt: skip
    async def test_a_query_that_fails_is_502(
        self, tmp_path: Path, database: str, sql: str, reason: str
    ) -> None:
        async with serving(tmp_path, sql=sql, database=database) as server:
            assert_problem(await server.get("/t:1/info.json"), 502)
            assert reason in server.events_of(LookupFailed)[0].reason

    async def test_nothing_is_written(self, tmp_path: Path, database: str) -> None:
        sql = "DELETE FROM images WHERE id = :name RETURNING path"
        async with serving(tmp_path, sql=sql, database=database, found_ttl=0) as server:
            assert await size(server, "1") == (200, 150)
        with closing(sqlite3.connect(tmp_path / "c.db")) as again:
            assert again.execute("SELECT count(*) FROM images").fetchone() == (2,)

    async def test_a_database_that_does_not_answer_is_504_and_holds_up_nothing(
        self, tmp_path: Path, database: str
    ) -> None:
        async with serving(tmp_path, sql=self.SQL, database=database, lookup_timeout=0.2) as server:
            lookup: Any = server.services.originals.source("t")._lookup  # type: ignore[attr-defined]
            gate = threading.Event()
            lookup._find = lambda _: gate.wait(30)
            assert_problem(await server.get("/t:1/info.json"), 504)
            gate.set()

    async def test_a_query_that_is_refused_is_a_problem_before_anybody_asks(
        self, tmp_path: Path, database: str
    ) -> None:
        sql = "SELECT path FROM imagse WHERE id = :name"
        async with serving(tmp_path, sql=sql, database=database) as server:
            (problem,) = (await server.services.originals.problems(5))["t"]
            assert "refuses the query" in problem
            assert "imagse" in problem

    async def test_a_database_that_is_missing_is_a_problem(self, tmp_path: Path) -> None:
        database = f"sqlite:///{tmp_path}/no/such.db"
        async with serving(tmp_path, sql=self.SQL, database=database) as server:
            assert_problem(await server.get("/t:1/info.json"), 502)
            (problem,) = (await server.services.originals.problems(5))["t"]
            assert "the database cannot be reached" in problem

    @pytest.mark.parametrize(
        "url", ["secret-hush", "nothing://user:hush@host/x", "postgresql+nothing://u:hush@h/x"]
    )
    async def test_a_url_that_is_none_is_told_without_it(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(ConfigurationError, match="database: ") as caught:
            async with serving(tmp_path, sql=self.SQL, database=url):
                pass
        assert "hush" not in str(caught.value)


async def test_lookups_may_look_up_in_each_other_and_the_stricter_limits_hold(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text(f"id,name,rights,max_width\n1,2,{INC},80\n")
    second.write_text(f"id,path,rights,max_width\n2,a.jpg,{CC0},90\n")
    inner = {"source": "lookup", "types": ["files"], "table": second, "access": "internal"}
    lookup = {"table": first, "types": ["inner"]}
    async with serving(tmp_path, {"inner": inner}, **lookup) as server:
        document = (await server.get("/t:1/info.json")).json()
        assert (document["rights"], document["maxWidth"]) == (INC, 80)


CYCLE = """[types.t]
source = 'lookup'
types = ['u']
table = 't.csv'
[types.u]
source = 'lookup'
types = ['files', 't']
table = 't.csv'
"""
SIGNED = f"""[types.t]
source = 'lookup'
types = ['signed']
table = 't.csv'
[signing]
keys = ['{"k" * 40}']
[types.signed]
source = 'disk'
access = 'signed'
"""
SQL_WITHOUT = """[types.t]
source = 'lookup'
types = ['files']
database = 'sqlite://'
sql = 'SELECT 1'
"""
ROWS = "types = ['files']\ntable = 't.csv'\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[types.t]\nsource = 'lookup'\ntypes = ['files']", "one of table, url and sql"),
        (f"[types.t]\nsource = 'lookup'\n{ROWS}url = 'http://x/{{name}}'", "table and url"),
        ("[types.t]\nsource = 'lookup'\ntypes = ['none']\ntable = 't.csv'", "'none' is not one of"),
        ("[types.t]\nsource = 'lookup'\ntypes = []\ntable = 't.csv'", "types"),
        ("[types.t]\nsource = 'lookup'\ntypes = ['files']\ntable = 't.xls'", "must end in .csv"),
        ("[types.t]\nsource = 'lookup'\ntypes = ['files']\nurl = 'http://x/'", "{name} must stand"),
        ("[types.t]\nsource = 'lookup'\ntypes = ['files']\nsql = 'x = :name'", "belong together"),
        (SQL_WITHOUT, "must have the parameter :name"),
        ("[types.t]\nsource = 'lookup'\ntypes = ['t']\ntable = 't.csv'", "leads back to itself"),
        (CYCLE, "leads back to itself"),
        (SIGNED, "has to be signed as well"),
        (f"default_type = 'files'\n[types.t]\nsource = 'lookup'\n{ROWS}", "internal"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f"{settings}\n[types.files]\nsource = 'disk'\naccess = 'internal'\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    assert words in str(caught.value)


def test_the_url_of_the_database_may_be_in_a_file_and_is_secret(tmp_path: Path) -> None:
    config, secret = tmp_path / "settings.toml", tmp_path / "database"
    secret.write_text("sqlite:///hush\n")
    config.write_text(
        "[types.t]\nsource = 'lookup'\ntypes = ['files']\nsql = 'SELECT :name AS path'\n"
        "database_file = 'database'\n[types.files]\nsource = 'disk'\n"
    )
    settings = load_settings(config)
    options: Any = settings.types["t"]
    assert options.database.get_secret_value() == "sqlite:///hush"
    assert "hush" not in repr(settings)


async def test_the_settings_of_the_documentation_work_as_they_are_printed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/sources/lookup.md").read_text()
    for language, file in (("toml", "settings.toml"), ("csv", "plates.csv")):
        found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
        assert found
        (tmp_path / file).write_text(found[1])
    settings = load_settings(tmp_path / "settings.toml")
    async with running_app(settings) as server:
        server.put("scans", "a/1.jpg", picture())
        server.put("scans", "a/2.jpg", picture(800, 600))
        assert (await server.get("/plates:42/full/max/0/default.jpg")).content == picture()
        document = (await server.get("/plates:43/info.json")).json()
        assert (document["maxWidth"], document["rights"]) == (600, INC)
        assert (await server.get("/scans:a/2.jpg/info.json")).status_code == 404
