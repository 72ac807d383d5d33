"""HTTP access of types: secrets for one origin only, certificates, proxies."""

import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from iiif_server.errors import ConfigurationError
from iiif_server.settings import load_settings
from iiif_server.sources.access import public_trust
from iiif_server.telemetry.events import FetchFailed
from support.apps import (
    Server,
    assert_problem,
    base64_identifier,
    fetch_options,
    picture,
    running_app,
    settings_below,
)
from support.proxy import Proxy, running_proxy
from support.upstream import Upstream, compressed, redirect, running_upstream, send, status

PICTURE = picture()
SECRET = "c4-t0p-secret"
BASIC = "Basic bXVzZXVtOmM0LXQwcC1zZWNyZXQ="


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


@pytest.fixture
def other() -> Iterator[Upstream]:
    """Another origin: the same host and scheme, another port."""
    with running_upstream() as other:
        other.otherwise = send(PICTURE)
        yield other


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with running_proxy() as proxy:
        yield proxy


@asynccontextmanager
async def serving(
    tmp_path: Path, allowed: tuple[Any, ...] | None = None, **types: Any
) -> AsyncIterator[Server]:
    options = {} if allowed is None else {"allow_networks": allowed}
    settings = settings_below(tmp_path, fetch=fetch_options(**options), types=types)
    async with running_app(settings) as server:
        yield server


WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "headers": (
        {"headers": {"Authorization": f"Token {SECRET}", "X-Api-Key": SECRET}},
        {"Authorization": f"Token {SECRET}", "X-Api-Key": SECRET},
    ),
    "bearer": ({"bearer_token": SECRET}, {"Authorization": f"Bearer {SECRET}"}),
    "basic": ({"username": "museum", "password": SECRET}, {"Authorization": BASIC}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["web", "trusted_web"])
async def test_secrets_go_to_the_origin_of_the_type_and_nowhere_else(
    upstream: Upstream, other: Upstream, tmp_path: Path, way: str, source: str
) -> None:
    options, sent = WAYS[way]
    here, away = f"{upstream.base}/moved", f"{upstream.base}/away"
    upstream.replies["/moved"] = redirect("/here")
    upstream.replies["/away"] = redirect(f"{other.base}/there")
    other.replies["/there"] = redirect(f"{upstream.base}/back")
    if source == "web":
        place = {"url": f"{upstream.base}/{{name}}"}
        names = ["moved", "away"]
    else:
        place = {"regex": "http://127.0.0.1:.*"}
        names = [base64_identifier(here), base64_identifier(away)]
    async with serving(tmp_path, t={"source": source, **place, **options}) as server:
        for name in names:
            assert (await server.get(f"/t:{name}/info.json")).status_code == 200
    for asked in upstream.requests:
        expected = {} if asked.target == "/back" else sent
        for name in ("Authorization", "X-Api-Key"):
            assert asked.headers[name] == expected.get(name), asked.target
    assert {"/moved", "/here", "/away", "/back"} == set(upstream.targets())
    assert SECRET not in str([item.headers for item in other.requests])
    assert other.requests[0].headers["Authorization"] is None


async def test_a_failed_fetch_names_its_url_without_secrets(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    upstream.otherwise = status(500)
    private = upstream.base.replace("//", f"//museum:{SECRET}@")
    url = f"{private}/a/{{name}}?key={SECRET}&{SECRET}&id={{name}}"
    async with serving(tmp_path, t={"source": "web", "url": url}) as server:
        assert_problem(await server.get("/t:1/info.json"), 502)
        reason = server.events_of(FetchFailed)[-1].reason
        dead = {"source": "web", "url": "http://127.0.0.1:9/{name}", "bearer_token": SECRET}
    async with serving(tmp_path, t=dead) as server:
        assert_problem(await server.get("/t:1/info.json"), 502)
        assert SECRET not in server.events_of(FetchFailed)[-1].reason
    assert f"{upstream.base}/a/1?key=...&...&id=..." in reason
    assert SECRET not in caplog.text


async def test_what_is_compressed_is_decompressed(upstream: Upstream, tmp_path: Path) -> None:
    upstream.otherwise = compressed(PICTURE)
    async with serving(tmp_path, t={"source": "web", "url": f"{upstream.base}/{{name}}"}) as server:
        assert (await server.get("/t:1/info.json")).status_code == 200
        assert server.original_path("t", "1").read_bytes() == PICTURE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private CA with certificates for `localhost` and for this server."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)

    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Museum -keyout ca.key -out ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("localhost", "reader"):
        openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-extfile names -out {name}.pem"
        )
    openssl("rsa -aes256 -passout pass:x -in reader.key -out locked.key")
    return folder


def encrypted(authority: Path, *, demands: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "localhost.pem", authority / "localhost.key")
    context.load_verify_locations(authority / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_NONE
    return context


async def test_a_private_authority_is_trusted_by_the_type_that_names_it(
    authority: Path, tmp_path: Path
) -> None:
    with running_upstream(encrypted(authority, demands=False)) as upstream:
        upstream.otherwise = send(PICTURE)
        url = f"https://localhost:{upstream.port}/{{name}}"
        private = {"source": "web", "url": url, "ca_file": authority / "ca.pem"}
        async with serving(tmp_path, private=private, t={"source": "web", "url": url}) as server:
            assert (await server.get("/private:1/info.json")).status_code == 200
            assert_problem(await server.get("/t:1/info.json"), 502, "cannot be reached")
            assert "CERTIFICATE_VERIFY_FAILED" in server.events_of(FetchFailed)[-1].reason


async def test_authorities_of_the_environment_replace_the_public_ones(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public_trust.cache_clear()
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
        with running_upstream(encrypted(authority, demands=False)) as upstream:
            upstream.otherwise = send(PICTURE)
            web = {"source": "web", "url": f"https://localhost:{upstream.port}/{{name}}"}
            async with serving(tmp_path, t=web) as server:
                assert (await server.get("/t:1/info.json")).status_code == 200
        public_trust.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "missing.pem"))
        with pytest.raises(ConfigurationError, match=r"SSL_CERT_FILE: .*missing\.pem"):
            async with serving(tmp_path, t=web):
                pass
    finally:
        public_trust.cache_clear()


async def test_a_client_certificate_is_shown_to_the_origin_of_the_type_only(
    authority: Path, tmp_path: Path
) -> None:
    certificate = {
        "ca_file": authority / "ca.pem",
        "client_certificate": authority / "reader.pem",
        "client_key": authority / "reader.key",
    }
    with (
        running_upstream(encrypted(authority, demands=True)) as upstream,
        running_upstream(encrypted(authority, demands=True)) as other,
    ):
        upstream.otherwise = other.otherwise = send(PICTURE)
        upstream.replies["/away"] = redirect(f"https://localhost:{other.port}/there")
        url = f"https://localhost:{upstream.port}/{{name}}"
        async with serving(tmp_path, t={"source": "web", "url": url, **certificate}) as server:
            assert (await server.get("/t:1/info.json")).status_code == 200
            assert_problem(await server.get("/t:away/info.json"), 502)
        assert other.requests == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ca_file": "missing"}, "types.t.ca_file: .*missing cannot be used: .*No such file"),
        ({"ca_file": "names"}, "types.t.ca_file: .*names cannot be used"),
        ({"client_certificate": "ca.key"}, "types.t.client_certificate: .*ca.key cannot be used"),
        ({"client_certificate": "reader.pem", "client_key": "ca.key"}, "client_certificate"),
        ({"client_certificate": "reader.pem", "client_key": "locked.key"}, "passphrase"),
    ],
)
async def test_a_file_that_cannot_be_used_is_told_at_the_start(
    authority: Path, tmp_path: Path, options: dict[str, str], word: str
) -> None:
    files = {name: authority / file for name, file in options.items()}
    with pytest.raises(ConfigurationError, match=word):
        async with serving(tmp_path, t={"source": "web", "url": "https://h/{name}", **files}):
            pass


async def test_a_proxy_gets_its_own_credentials_and_no_upstream_those(
    upstream: Upstream, proxy: Proxy, tmp_path: Path
) -> None:
    through = proxy.base.replace("//", "//reader:pass@")
    web = {
        "source": "web",
        "url": f"{upstream.base}/{{name}}",
        "proxy": through,
        "bearer_token": SECRET,
    }
    async with serving(tmp_path, t=web) as server:
        assert (await server.get("/t:1/info.json")).status_code == 200
    ((method, target, headers),) = proxy.seen
    assert (method, target) == ("GET", f"{upstream.base}/1")
    assert headers["Proxy-Authorization"] == "Basic cmVhZGVyOnBhc3M="
    assert upstream.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert upstream.requests[0].headers["Proxy-Authorization"] is None


async def test_a_tunnel_keeps_secrets_from_the_proxy(
    authority: Path, proxy: Proxy, tmp_path: Path
) -> None:
    with running_upstream(encrypted(authority, demands=False)) as upstream:
        upstream.otherwise = send(PICTURE)
        web = {
            "source": "web",
            "url": f"https://localhost:{upstream.port}/{{name}}",
            "proxy": proxy.base,
            "bearer_token": SECRET,
            "ca_file": authority / "ca.pem",
        }
        async with serving(tmp_path, allowed=("127.0.0.0/8", "::1/128"), t=web) as server:
            assert (await server.get("/t:1/info.json")).status_code == 200
        ((method, target, headers),) = proxy.seen
    assert (method, target) == ("CONNECT", f"localhost:{upstream.port}")
    assert SECRET not in str(headers)


@pytest.mark.parametrize(
    ("host", "resolves", "allowed"),
    [
        ("127.0.0.1", False, False),
        ("localhost", False, False),
        ("name.invalid", False, False),
        ("127.0.0.1", True, False),
        ("127.1", True, False),
        ("2130706433", True, False),
        ("0x7f.0.0.1", True, False),
        ("[::1]", True, False),
        ("[::ffff:127.0.0.1]", True, False),
        ("localhost", True, False),
        ("a.localhost.", True, False),
        ("name.invalid", True, True),
    ],
)
async def test_hosts_behind_a_proxy_are_checked(  # noqa: PLR0917 - fixtures and parameters
    proxy: Proxy,
    upstream: Upstream,
    tmp_path: Path,
    host: str,
    resolves: bool,  # noqa: FBT001 - a parameter of the test
    allowed: bool,  # noqa: FBT001
) -> None:
    proxy.hosts["name.invalid"] = "127.0.0.1"
    url = f"http://{host}:{upstream.port}/{{name}}"
    web = {"source": "web", "url": url, "proxy": proxy.base, "proxy_resolves": resolves}
    async with serving(tmp_path, allowed=(), t=web) as server:
        response = await server.get("/t:1/info.json")
        assert response.status_code == (200 if allowed else 502), response.text
        if host == "name.invalid" and not allowed:
            assert "proxy_resolves" in server.events_of(FetchFailed)[-1].reason
    assert len(proxy.seen) == allowed


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_a_failure_of_the_upstream(
    proxy: Proxy, tmp_path: Path, scheme: str
) -> None:
    proxy.refuses = True
    web = {"source": "web", "url": f"{scheme}://127.0.0.1:9/{{name}}", "proxy": proxy.base}
    async with serving(tmp_path, t=web) as server:
        assert_problem(await server.get("/t:1/info.json"), 502)
        assert "407" in server.events_of(FetchFailed)[-1].reason


@pytest.mark.parametrize(
    ("page", "identifier"),
    [
        ("web.md", "photographs:2024/banana"),
        ("trusted_web.md", "http%3A%2F%2F{host}%2Fmasters%2F2024%2Fbanana.jpg"),
    ],
)
async def test_the_configuration_in_the_documentation(
    page: str, identifier: str, upstream: Upstream, tmp_path: Path
) -> None:
    """As it is printed, but for the host of the example."""
    text = (Path(__file__).parents[3] / "docs/sources" / page).read_text()
    printed = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    written = "\n".join(printed).replace("https://images.example.org", upstream.base)
    network = 'allow_networks = ["127.0.0.1"]'
    both = "[fetch]" in written
    written = written.replace("[fetch]", f"[fetch]\n{network}") if both else written
    (tmp_path / "s.toml").write_text(written if both else f"{written}\n[fetch]\n{network}")
    for name in ("photographs.token", "partner.token"):
        (tmp_path / name).write_text(f"{SECRET}\n")
    host = quote(upstream.base.removeprefix("http://"), safe="")
    async with running_app(load_settings(tmp_path / "s.toml")) as server:
        response = await server.get(f"/{identifier.format(host=host)}/info.json")
        assert response.status_code == 200, response.text
    (asked,) = upstream.requests
    assert asked.target == "/masters/2024/banana.jpg"
    assert asked.headers["Authorization"] == f"Bearer {SECRET}"
