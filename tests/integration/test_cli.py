"""The command line: what it says, and how it ends."""

import asyncio
import os
import platform
import re
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from iiif_server import __version__
from iiif_server.cli import main
from iiif_server.composition.components import open_fetcher, open_sources
from support.apps import (
    Process,
    decode_image,
    is_running,
    picture,
    running_app,
    running_process,
    settings_below,
)
from support.servers import ADMIN_TOKEN, free_port


def configuration(folder: Path, text: str = '[types.disk]\nsource = "disk"\n') -> str:
    """A settings file for small pools, with all folders below one."""
    path = folder / "settings.toml"
    path.write_text(
        f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
        f'image_pool_size = 1\nsize_pool_size = 1\nadmin.token = "{ADMIN_TOKEN}"\n{text}'
    )
    (folder / "source" / "disk").mkdir(parents=True, exist_ok=True)
    return str(path)


def run(*arguments: str) -> Result:
    """What a command prints, in this process."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iiif_server", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert __version__ in done.stdout


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("serve", "check", "prepare", "pyramid", "sign", "cache", "settings"):
        assert command in result.output
    assert run("cache", "--help").exit_code == 0


def test_a_command_that_there_is_not() -> None:
    assert run("banana").exit_code == 2


class TestCheck:
    def test_in_order(self, tmp_path: Path) -> None:
        result = run("check", "--config", configuration(tmp_path))
        assert result.exit_code == 0
        assert "type disk: source disk" in result.output
        assert "jpg" in result.output
        assert "No problems found." in result.output
        assert "FAIL" not in result.output

    def test_a_worker_of_each_pool_has_made_an_image(self, tmp_path: Path) -> None:
        """In the sandbox that `serve` gives it, as it reports itself."""
        (tmp_path / "cache/derivatives/incoming").mkdir(parents=True)
        output = run("check", "--config", configuration(tmp_path)).output
        version = platform.python_version()
        for pool, did in (
            ("size", "read the header of a test image"),
            ("image", "made a JPEG of a test image and wrote it into the cache"),
        ):
            found = re.search(rf"ok    {pool} worker: pid (\d+) {did} \((.*)\)", output)
            assert found is not None, output
            assert int(found[1]) not in {0, os.getpid()}
            assert f"Python {version}, libvips 8." in found[2]
            assert "Pillow 1" in found[2]

    def test_nothing_is_left_open(self, tmp_path: Path) -> None:
        types = '[types.disk]\nsource = "disk"\n'
        types += '[types.web]\nsource = "web"\nurl = "https://upstream.invalid/{name}"\n'
        config = configuration(tmp_path, types)
        run("check", "--config", config)  # what is loaded once stays open
        before = set(os.listdir("/dev/fd"))
        output = run("check", "--config", config).output
        assert set(os.listdir("/dev/fd")) <= before
        pids = re.findall(r"worker: pid (\d+) ", output)
        assert len(pids) == 2
        assert not any(is_running(int(pid)) for pid in pids)

    async def test_the_client_of_sources_is_closed(self, tmp_path: Path) -> None:
        settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
        async with AsyncExitStack() as stack:
            fetcher = open_fetcher(stack, settings)
            sources = open_sources(stack, settings, fetcher, lambda _: None)
            assert sources["disk"].context.fetcher is fetcher
        with pytest.raises(RuntimeError, match="closed"):
            await fetcher.fetch("https://upstream.invalid/1.jpg", tmp_path / "1.jpg", bool)

    def test_the_cause_is_named_when_workers_do_not_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\necho 'no module named worker' >&2\nexit 3\n")
        broken.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(broken))
        result = run("check", "--config", configuration(tmp_path))
        assert result.exit_code == 1
        assert "FAIL  workers: " in result.output
        assert "exit code 3" in result.output
        assert "turbojpeg: " not in result.output  # only a worker knows
        assert "no module named worker" in result.output
        assert "Traceback" not in result.output

    def test_the_file_may_be_named_in_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IIIF_CONFIG", configuration(tmp_path))
        assert run("check").exit_code == 0

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, '[types.plants]\nsource = "disk"\n')
        result = run("check", "--config", config)
        assert result.exit_code == 1
        assert f"FAIL  type plants: the folder {tmp_path}/source/plants" in result.output
        assert "create it" in result.output
        assert "1 problem found." in result.output

    def test_no_folder_is_made(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, '[types.plants]\nsource = "disk"\n')
        before = sorted(tmp_path.rglob("*"))
        result = run("check", "--config", config)
        assert sorted(tmp_path.rglob("*")) == before
        assert f"{tmp_path}/cache does not exist yet; the server will create it" in result.output

    def test_relative_paths_are_printed_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "source" / "disk").mkdir(parents=True)
        (tmp_path / "s.toml").write_text(
            'source_path = "source"\ncache_path = "./cache"\n[types.disk]\nsource = "disk"\n'
        )
        monkeypatch.chdir(tmp_path / "elsewhere")
        result = run("check", "--config", "../s.toml")
        assert result.exit_code == 0, result.output
        for line in result.output.splitlines():
            if "path" in line or "type disk" in line:
                assert f" {tmp_path}/elsewhere/../" in line

    def test_an_override_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = configuration(tmp_path)
        monkeypatch.setenv("IIIF_CACHE_PATH", str(tmp_path / "other"))
        result = run("check", "--config", config)
        assert result.exit_code == 0
        assert (
            f'WARN  settings: IIIF_CACHE_PATH overrides cache_path in {config}: "{tmp_path}/other" '
            f'instead of "{tmp_path}/cache"'
        ) in result.output

    def test_what_the_container_allows_is_printed(self, tmp_path: Path) -> None:
        result = run("check", "--config", configuration(tmp_path))
        assert re.search(r"ok    machine: \d+ CPUs.*, .* of memory", result.output)

    def test_more_memory_than_there_is(self, tmp_path: Path) -> None:
        result = run("check", "--config", configuration(tmp_path, 'limits.memory = "900 TB"\n'))
        assert result.exit_code == 1
        assert "FAIL  limits.memory: 900 TB for images that are being rendered" in result.output

    def test_no_types(self, tmp_path: Path) -> None:
        result = run("check", "--config", configuration(tmp_path, ""))
        assert result.exit_code == 1
        assert (
            "FAIL  types: none: add [types.NAME] with a source to the settings, or" in result.output
        )

    def test_folders_that_cannot_be_written(self, tmp_path: Path) -> None:
        text = '[types.web]\nsource = "web"\nurl = "https://example.com/{name}"\n'
        config = configuration(tmp_path, text)
        (tmp_path / "source" / "disk").rmdir()
        (tmp_path / "source").rmdir()
        for name in ("cache", "source"):
            (tmp_path / name).write_text("a file where a folder should be")
        result = run("check", "--config", config)
        assert result.exit_code == 1
        assert f"FAIL  cache_path: {tmp_path}/cache cannot be written" in result.output
        assert f"FAIL  source_path: {tmp_path}/source cannot be written" in result.output
        assert "change it or its owner" in result.output
        assert "2 problems found." in result.output

    def test_too_many_processes(self, tmp_path: Path) -> None:
        path = Path(configuration(tmp_path))
        path.write_text(path.read_text().replace("image_pool_size = 1", "image_pool_size = 9999"))
        result = run("check", "--config", str(path))
        assert result.exit_code == 1
        assert "FAIL  image_pool_size: 9999 image workers" in result.output

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("htp_port = 1", "did you mean http_port?"),
            ('[types.a]\nsource = "disc"', "did you mean disk?"),
            ("http_port = ", "cannot be parsed"),
        ],
    )
    def test_settings_that_cannot_be(self, tmp_path: Path, text: str, said: str) -> None:
        result = run("check", "--config", configuration(tmp_path, text))
        assert result.exit_code == 1
        assert said in result.output

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        result = run("check", "--config", str(tmp_path / "missing.toml"))
        assert result.exit_code == 1
        assert "missing.toml cannot be read: No such file or directory" in result.output


def filled(folder: Path) -> str:
    """A settings file for a store that holds two derivatives of one original, one of another."""
    config = configuration(folder)

    async def fill() -> None:
        settings = settings_below(folder, types={"disk": {"source": "disk"}})
        async with running_app(settings) as server:
            for name, width in (("a.jpg", 20), ("a.jpg", 30), ("folder/b 1.jpg", 20)):
                server.put("disk", name, picture())
                path = f"/disk:{name}/full/{width},/0/default.jpg"
                assert (await server.get(path)).status_code == 200

    asyncio.run(fill())
    return config


def derivatives(folder: Path) -> int:
    """The number of files in the store."""
    return sum(path.is_file() for path in (folder / "cache" / "derivatives" / "entries").rglob("*"))


class TestCache:
    def test_stats(self, tmp_path: Path) -> None:
        result = run("cache", "stats", "--config", filled(tmp_path))
        assert result.exit_code == 0
        size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.jpg"))
        assert f"3 derivatives, {size:,} bytes" in result.output
        assert "of 10,000,000,000" in result.output

    def test_purge(self, tmp_path: Path) -> None:
        config = filled(tmp_path)
        result = run("cache", "purge", "--config", config)
        assert result.exit_code == 0
        assert "3 derivatives removed." in result.output
        assert derivatives(tmp_path) == 0
        assert (tmp_path / "source" / "disk" / "a.jpg").is_file()
        assert "0 derivatives, 0 bytes" in run("cache", "stats", "--config", config).output

    def test_purge_says_if_the_shared_cache_does_not_answer(self, tmp_path: Path) -> None:
        config = Path(filled(tmp_path))
        before = config.read_text()
        bucket = (
            'cache.shared = "s3://bucket/cache"\ncache_bucket.endpoint = "http://127.0.0.1:9"\n'
        )
        keys = 'cache_bucket.access_key_id = "a"\ncache_bucket.secret_access_key = "b"\n'
        config.write_text(bucket + keys + before)
        result = run("cache", "purge", "--config", str(config))
        assert result.exit_code == 1
        assert "Removed here, and not yet in the shared cache" in result.output
        assert derivatives(tmp_path) == 0
        config.write_text(bucket.replace("s3:", "gs:") + keys + before)
        result = run("cache", "purge", "--config", str(config))
        assert result.exit_code == 1
        assert "access_key_id is for s3:// only" in result.output

    def test_purge_of_one_original(self, tmp_path: Path) -> None:
        config = filled(tmp_path)
        for identifier, said, left in (
            ("disk:missing.jpg", "0 derivatives removed.", 3),
            ("disk:a.jpg", "2 derivatives removed.", 1),
            ("disk:folder%2Fb%201.jpg", "1 derivative removed.", 0),
        ):
            result = run("cache", "purge", "--config", config, "--identifier", identifier)
            assert result.exit_code == 0
            assert said in result.output
            assert derivatives(tmp_path) == left

    @pytest.mark.parametrize(
        ("identifier", "said"),
        [
            ("a.jpg", "The identifier has no type"),
            ("disk:", "The identifier has no name"),
            ("disk:100%", "a percent sign itself is written %25"),
            ("", "An identifier has 1 to 4096 characters"),
        ],
    )
    def test_an_identifier_that_is_none(self, tmp_path: Path, identifier: str, said: str) -> None:
        config = configuration(tmp_path)
        result = run("cache", "purge", "--config", config, "--identifier", identifier)
        assert result.exit_code == 1
        assert said in result.output

    @pytest.mark.parametrize("bound", ["10GB", "0"])
    def test_a_store_that_was_never_used(self, tmp_path: Path, bound: str) -> None:
        config = configuration(tmp_path, f'[cache]\nmax_bytes = "{bound}"\n')
        stats = run("cache", "stats", "--config", config)
        assert (stats.exit_code, "0 derivatives, 0 bytes" in stats.output) == (0, True)
        purge = run("cache", "purge", "--config", config)
        assert (purge.exit_code, "0 derivatives removed." in purge.output) == (0, True)


class TestAccel:
    @pytest.mark.parametrize(
        ("mode", "code", "said"),
        [
            (0o755, 0, "nginx sends files below"),
            (0o750, 0, "nginx's user must be in it"),
            (0o700, 1, "is closed to all but its owner"),
        ],
    )
    def test_check_tells_whether_nginx_can_read_what_it_is_to_send(
        self, mode: int, code: int, said: str, tmp_path: Path
    ) -> None:
        for folder in [tmp_path, *tmp_path.parents]:
            if folder.stat().st_uid == os.getuid() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)
        config = configuration(
            tmp_path,
            'delivery.accel_redirect = "/_derivatives"\n[types.disk]\nsource = "disk"\n',
        )
        entries = tmp_path / "cache" / "derivatives" / "entries"
        entries.mkdir(parents=True)
        entries.chmod(mode)
        result = run("check", "--config", config)
        (line,) = [line for line in result.output.split("\n") if "accel_redirect" in line]
        assert said in line
        assert (result.exit_code == 0) == (code == 0), result.output

    def test_check_tells_that_the_shared_cache_does_not_answer(self, tmp_path: Path) -> None:
        bucket = (
            'cache.shared = "s3://bucket/cache"\ncache_bucket.endpoint = "http://127.0.0.1:9"\n'
            'cache_bucket.access_key_id = "a"\ncache_bucket.secret_access_key = "hidden"\n'
        )
        result = run("check", "--config", configuration(tmp_path, bucket))
        assert result.exit_code == 1
        assert "s3://bucket/cache cannot be listed: " in result.output
        assert "hidden" not in result.output
        other = configuration(tmp_path, bucket.replace("s3:", "az:"))
        assert "access_key_id is for s3:// only" in run("check", "--config", other).output


KEY = "a-key-of-these-tests-with-enough-letters"
SIGNED = f'signing.keys = ["{KEY}"]\n[types.disk]\nsource = "disk"\naccess = "signed"\n'


class TestSign:
    def address(self, config: str, *arguments: str) -> str:
        result = run("sign", "--config", config, *arguments)
        assert result.exit_code == 0, result.output
        (address,) = result.output.splitlines()
        return address

    def test_an_address_that_is_printed_is_answered(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, SIGNED)
        (tmp_path / "source" / "disk" / "a").mkdir()
        (tmp_path / "source" / "disk" / "a" / "1.jpg").write_bytes(picture())
        with running_process("--config", config) as process:

            def answer(*arguments: str) -> httpx.Response:
                address = self.address(config, "disk:a/1.jpg", *arguments)
                assert address.startswith("http://127.0.0.1:4040/iiif/")
                return httpx.get(address.replace("http://127.0.0.1:4040", process.base))

            information = answer().json()
            assert (information["width"], information["type"]) == (200, "ImageService3")
            tile = httpx.get(f"{information['id']}/full/50,/0/default.jpg")
            assert decode_image(tile).size == (50, 38)
            assert answer("--version", "2.1").json()["@id"].startswith(f"{process.base}/iiif/2/")
            request = ("--request", "full/40,/0/default.jpg")
            assert decode_image(answer(*request)).size == (40, 30)
            assert decode_image(answer("--version", "2.1", *request)).size == (40, 30)
            assert httpx.get(f"{process.base}/disk:a/1.jpg/info.json").status_code == 403

    def test_a_request_that_can_only_be_refused_is_not_signed(self, tmp_path: Path) -> None:
        """Neither is one in the grammar of the other version; the words are those of the server."""
        config = configuration(tmp_path, SIGNED)
        (tmp_path / "source" / "disk" / "1.jpg").write_bytes(picture())
        refused = [
            ("3.0", "full/1,2,3/0/default.jpg"),
            ("3.0", "full/full/0/default.jpg"),
            ("2.1", "full/^max/0/default.jpg"),
            ("3.0", "0,0,0,5/max/0/default.jpg"),
            ("3.0", "full/max/361/default.jpg"),
            ("3.0", "full/max/0/colour.jpg"),
            ("3.0", "full/max/0/default.xyz"),
            ("3.0", "full/max/0/default"),
        ]
        with running_process("--config", config) as process:
            for version, request in refused:
                result = run(
                    "sign", "--config", config, "disk:1.jpg",
                    "--request", request, "--version", version,
                )  # fmt: skip
                assert (result.exit_code, result.stdout) == (1, ""), request
                address = f"{process.base}/iiif/{version[0]}/disk:1.jpg/{request}"
                answer = httpx.get(address, headers={"Accept": "*/*"})
                assert answer.status_code == 400, request
                assert result.stderr.strip() == answer.json()["error"]

    @pytest.mark.parametrize("request_", ["", "full/max", "info.json", "/full/max/0/default.jpg"])
    def test_a_request_without_all_its_parts_is_not_signed(
        self, tmp_path: Path, request_: str
    ) -> None:
        config = configuration(tmp_path, SIGNED)
        result = run("sign", "--config", config, "disk:1.jpg", "--request", request_)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "expected region/size/rotation/quality.format, as in full/!400" in result.stderr

    def test_the_public_address_is_the_one_of_the_settings(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, f'base_url = "https://images.example.org/x"\n{SIGNED}')
        before = int(time.time())
        (tmp_path / "source" / "disk" / "a").mkdir()
        (tmp_path / "source" / "disk" / "a" / "1.jpg").write_bytes(picture())
        address = self.address(config, "disk:a%2F1.jpg", "--expires-in", "100")
        assert address.startswith("https://images.example.org/x/iiif/3/signed/")
        assert address.endswith("/disk:a%2F1.jpg/info.json")
        expires = int(address.partition("/signed/")[2].partition(".")[0])
        assert before + 100 <= expires <= time.time() + 100
        assert KEY not in address

    def test_the_time_is_given_with_a_unit(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, SIGNED)
        before = int(time.time())
        (tmp_path / "source" / "disk" / "1.jpg").write_bytes(picture())
        address = self.address(config, "disk:1.jpg", "--expires-in", "30 days")
        expires = int(address.partition("/signed/")[2].partition(".")[0])
        assert before + 2_592_000 <= expires <= time.time() + 2_592_000

    @pytest.mark.parametrize("text", ["soon", "0", "-5", "1.5 s", "1 month", ""])
    def test_a_time_that_is_none_is_refused(self, tmp_path: Path, text: str) -> None:
        config = configuration(tmp_path, SIGNED)
        result = run("sign", "--config", config, "disk:1.jpg", f"--expires-in={text}")
        assert result.exit_code == 2
        assert "30 days" in result.output

    @pytest.mark.parametrize(
        ("settings", "start"),
        [
            ('root_path = "/images"', "http://127.0.0.1:4040/images/iiif/3/signed/"),
            ('root_path = "/iiif"', "http://127.0.0.1:4040/iiif/3/signed/"),
            (
                'root_path = "/iiif"\nbase_url = "https://a.example/iiif"',
                "https://a.example/iiif/3/signed/",
            ),
            ('http_host = "0.0.0.0"', "http://localhost:4040/iiif/3/signed/"),
            ('http_host = "::"', "http://localhost:4040/iiif/3/signed/"),
        ],
    )
    def test_the_printed_address_is_below_the_root_path(
        self, tmp_path: Path, settings: str, start: str
    ) -> None:
        config = configuration(tmp_path, f"{settings}\n{SIGNED}")
        (tmp_path / "source" / "disk" / "1.jpg").write_bytes(picture())
        assert self.address(config, "disk:1.jpg").startswith(start)

    @pytest.mark.parametrize(
        ("access", "name", "warning"),
        [
            ("public", "1.jpg", "Warning: the type 'disk' is public"),
            ("signed", "2.jpg", "Warning: the original of disk:2.jpg cannot be opened"),
            ("internal", "1.jpg", "Warning: the type 'disk' is internal"),
            ("signed", "1.jpg", ""),
            ("signed", "1.jpg;1", ""),
        ],
    )
    def test_an_address_that_may_be_of_no_use_is_printed_with_a_warning(
        self, tmp_path: Path, access: str, name: str, warning: str
    ) -> None:
        config = configuration(tmp_path, SIGNED.replace('"signed"', f'"{access}"'))
        (tmp_path / "source" / "disk" / "1.jpg").write_bytes(picture())
        result = run("sign", "--config", config, f"disk:{name}")
        assert result.exit_code == 0
        assert result.stdout.startswith("http://127.0.0.1:4040/iiif/3/signed/")
        assert result.stderr.startswith(warning)
        assert bool(result.stderr) == bool(warning)

    @pytest.mark.parametrize(
        ("text", "identifier", "said"),
        [
            ('[types.disk]\nsource = "disk"\n', "disk:1", "add [signing] keys"),
            (SIGNED, "1", "The identifier has no type"),
            (SIGNED, "disk:%", "a percent sign itself is written %25"),
            (SIGNED, "disc:1", "There is no type 'disc' in the settings: they have disk."),
        ],
    )
    def test_what_cannot_be_signed(
        self, tmp_path: Path, text: str, identifier: str, said: str
    ) -> None:
        result = run("sign", "--config", configuration(tmp_path, text), identifier)
        assert result.exit_code == 1
        assert said in result.output


def ended(process: Process, number: signal.Signals) -> tuple[int, float, list[int]]:
    """The exit code after a signal, the seconds until then, and the processes that are left."""
    children = process.descendants()
    assert len(children) >= 2
    started = time.monotonic()
    process.popen.send_signal(number)
    code = process.popen.wait(15)
    seconds = time.monotonic() - started
    deadline = time.monotonic() + 5
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    return code, seconds, [child for child in children if is_running(child)]


class TestServe:
    def test_serves_and_ends_on_sigterm(self, tmp_path: Path) -> None:
        config = configuration(tmp_path)
        (tmp_path / "source" / "disk" / "pic.jpg").write_bytes(picture())
        with running_process("--config", config) as process:
            information = httpx.get(f"{process.base}/disk:pic.jpg/info.json").json()
            assert information["id"] == f"{process.base}/disk:pic.jpg"
            image = httpx.get(f"{process.base}/disk:pic.jpg/full/50,/0/default.jpg")
            assert decode_image(image).size == (50, 38)
            assert ended(process, signal.SIGTERM)[::2] == (0, [])
            output, _ = process.popen.communicate()
        assert f"{process.base}/ " in output
        assert f"{process.base}/docs" in output
        assert f"{process.base}/status" in output

    def test_ends_on_ctrl_c_soon_and_without_a_traceback(self, tmp_path: Path) -> None:
        with running_process("--config", configuration(tmp_path)) as process:
            code, seconds, left = ended(process, signal.SIGINT)
            _, log = process.popen.communicate()
        assert code in {0, 130, -signal.SIGINT}
        assert seconds < 5
        assert left == []
        assert "Traceback" not in log

    def test_no_process_outlives_a_server_that_is_killed(self, tmp_path: Path) -> None:
        with running_process("--config", configuration(tmp_path)) as process:
            _, _, left = ended(process, signal.SIGKILL)
        assert left == []

    def test_a_request_under_way_is_finished_before_the_end(self, tmp_path: Path) -> None:
        config = configuration(tmp_path)
        (tmp_path / "source" / "disk" / "pic.png").write_bytes(picture(1600, 1200, "PNG"))
        path = "/disk:pic.png/full/max/33/default.png"
        with running_process("--config", config) as process:

            async def asking() -> httpx.Response:
                async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
                    request = asyncio.create_task(client.get(process.base + path))
                    while (await asyncio.to_thread(process.status))["pools"]["image"]["busy"] == 0:
                        assert not request.done(), "too fast to be interrupted"
                    process.popen.send_signal(signal.SIGTERM)
                    return await request

            assert decode_image(asyncio.run(asking())).width > 1600
            assert process.popen.wait(15) == 0

    def test_host_and_port_of_the_settings_and_of_the_environment(self, tmp_path: Path) -> None:
        port = free_port()
        config = configuration(tmp_path, f"http_port = {port}\n")
        popen = subprocess.Popen(
            [sys.executable, "-m", "iiif_server", "serve", "--config", config],
            env={**os.environ, "IIIF_HTTP_HOST": "127.0.0.1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 15
            answer = None
            while answer is None and time.monotonic() < deadline:
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
                except httpx.TransportError:
                    time.sleep(0.05)
            assert answer is not None
            assert answer.status_code == 200
        finally:
            popen.send_signal(signal.SIGTERM)
            popen.wait(15)

    def test_it_warns_of_overrides_and_of_missing_folders(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, '[types.plants]\nsource = "disk"\n')
        other = {"IIIF_INFO_CACHE_SIZE": "7", "IIIF_ADMIN__TOKEN": "another-token-of-16"}
        Path(config).write_text("info_cache_size = 9\n" + Path(config).read_text())
        with running_process("--config", config, environment=other) as process:
            deadline = time.monotonic() + 20
            while httpx.get(f"{process.base}/health/ready").status_code != 503:
                assert time.monotonic() < deadline
            process.popen.send_signal(signal.SIGTERM)
            _, log = process.popen.communicate(timeout=20)
        assert "IIIF_INFO_CACHE_SIZE overrides info_cache_size" in log
        assert '"7" instead of 9' in log
        assert "IIIF_ADMIN__TOKEN overrides admin.token" in log
        assert "another-token" not in log
        assert ADMIN_TOKEN not in log
        assert f"type plants: the folder {tmp_path}/source/plants does not exist" in log

    def test_settings_that_cannot_be_end_it_at_once(self, tmp_path: Path) -> None:
        config = configuration(tmp_path, "htp_port = 1")
        result = run("serve", "--config", config)
        assert result.exit_code == 1
        assert "did you mean http_port?" in result.output

    def test_a_sample_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        config = configuration(tmp_path)
        (tmp_path / "source" / "sample").write_text("a file where the folder would be")
        result = run("serve", "--config", config, "--sample")
        assert result.exit_code == 1
        path = tmp_path / "source" / "sample" / "atlas.jpg"
        assert f"The sample image cannot be written to {path}: File exists" in result.output

    def test_a_port_that_is_taken_is_an_error(self, tmp_path: Path) -> None:
        config = configuration(tmp_path)
        with running_process("--config", config) as process:
            port = process.base.rpartition(":")[2]
            done = subprocess.run(
                [sys.executable, "-m", "iiif_server", "serve", "--config", config, "--port", port],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert done.returncode != 0
            assert "Address already in use" in done.stderr
            assert "Set http_host and http_port" in done.stderr
            assert not done.stdout  # nothing to open
            assert httpx.get(f"{process.base}/health").status_code == 200


class TestNothingToDo:
    @pytest.mark.parametrize(
        "command", [["prepare"], ["export", "--base-url", "https://a.example"]]
    )
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (False, "The type plants: the folder {0}/source/plants does not exist"),
            (True, "There are no images in the type plants: its folder is empty."),
        ],
    )
    def test_a_missing_or_empty_folder_is_an_error(
        self, tmp_path: Path, command: list[str], *, make: bool, said: str
    ) -> None:
        config = configuration(tmp_path, '[types.plants]\nsource = "disk"\n')
        if make:
            (tmp_path / "source" / "plants").mkdir()
        to = ["--to", str(tmp_path / "out")] if command[0] == "export" else []
        result = run(*command, *to, "--config", config, "--type", "plants")
        assert result.exit_code == 1
        assert said.format(tmp_path) in result.output

    @pytest.mark.parametrize(
        "command", [["prepare"], ["export", "--base-url", "https://a.example"]]
    )
    def test_an_empty_list_of_identifiers_is_an_error(
        self, tmp_path: Path, command: list[str]
    ) -> None:
        (tmp_path / "list").write_text("")
        to = ["--to", str(tmp_path / "out")] if command[0] == "export" else []
        listed = ["--identifiers", str(tmp_path / "list")]
        result = run(*command, *to, "--config", configuration(tmp_path), *listed)
        assert result.exit_code == 1
        assert "No identifiers were given." in result.output
