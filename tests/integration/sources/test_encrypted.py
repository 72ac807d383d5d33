"""Originals over HTTPS: the certificate must prove the host."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from iiif_server.errors import SourceUnavailableError
from iiif_server.sources.access import Connecting
from iiif_server.sources.access import public_trust as _trust
from iiif_server.sources.fetching import Fetcher
from support.apps import fetch_options, picture
from support.upstream import Upstream, endless, running_upstream, send

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")

PICTURE = picture()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of `localhost`, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    key, signed, both = folder / "key", folder / "signed", folder / "both"
    options = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command = f"openssl req {options} -addext subjectAltName=DNS:localhost".split()
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(signed)], check=True, capture_output=True
    )
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return both


@pytest.fixture
def upstream(certificate: Path) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with running_upstream(context) as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


def fetcher_below(root: Path, *trusted: Path) -> Fetcher:
    """A fetcher that trusts these certificates besides those that all do."""
    fetcher = Fetcher(fetch_options(), 1, root / ".incoming")
    trust = httpx.create_ssl_context()  # one of its own: all fetchers of a process share theirs
    for certificate in trusted:
        trust.load_verify_locations(certificate)
    client = fetcher.client(Connecting())
    client._client._transport._pool._ssl_context = trust  # type: ignore[attr-defined]
    return fetcher


async def test_an_original_is_fetched_over_https(
    upstream: Upstream, certificate: Path, tmp_path: Path
) -> None:
    fetcher = fetcher_below(tmp_path, certificate)
    url = f"https://localhost:{upstream.port}/x"
    await fetcher.fetch(url, tmp_path / "x", lambda _: True)
    await fetcher.close()
    assert (tmp_path / "x").read_bytes() == PICTURE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_who_cannot_prove_to_be_the_host_is_asked_for_nothing(
    upstream: Upstream, certificate: Path, tmp_path: Path, host: str
) -> None:
    # To all the world the one is signed by nobody, and the other is not what was signed.
    trusted = [certificate] if host == "127.0.0.1" else []
    fetcher = fetcher_below(tmp_path, *trusted)
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        await fetcher.fetch(f"https://{host}:{upstream.port}/x", tmp_path / "x", lambda _: True)
    await fetcher.close()
    assert upstream.requests == []


async def test_a_head_without_end_is_cut_short_over_https_as_well(
    upstream: Upstream, certificate: Path, tmp_path: Path
) -> None:
    fetcher = fetcher_below(tmp_path, certificate)
    upstream.replies["/x"] = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        await fetcher.fetch(f"https://localhost:{upstream.port}/x", tmp_path / "x", lambda _: True)
    await fetcher.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_fetcher_as_it_is_used_trusts_no_unknown_certificate(
    upstream: Upstream, tmp_path: Path, host: str
) -> None:
    """Nothing is exchanged here: this is the context that serves."""
    fetcher = Fetcher(fetch_options(), 1, tmp_path / ".incoming")
    with pytest.raises(SourceUnavailableError, match="cannot be reached") as refusal:
        await fetcher.fetch(f"https://{host}:{upstream.port}/x", tmp_path / "x", lambda _: True)
    await fetcher.close()
    assert "CERTIFICATE_VERIFY_FAILED" in str(refusal.value.__cause__)
    assert upstream.requests == []


async def test_the_fetcher_as_it_is_used_compares_the_name_in_a_certificate(
    upstream: Upstream, certificate: Path, tmp_path: Path
) -> None:
    """A certificate that is trusted, of another host."""
    fetcher = Fetcher(fetch_options(), 1, tmp_path / ".incoming")
    context = _trust()
    before = context.get_ca_certs()
    context.load_verify_locations(certificate)
    try:
        url = f"https://127.0.0.1:{upstream.port}/x"
        with pytest.raises(SourceUnavailableError) as refusal:
            await fetcher.fetch(url, tmp_path / "x", lambda _: True)
        await fetcher.fetch(f"https://localhost:{upstream.port}/x", tmp_path / "x", lambda _: True)
    finally:
        _trust.cache_clear()  # the certificate is nobody else's
    await fetcher.close()
    assert "IP address mismatch" in str(refusal.value.__cause__)
    assert len(context.get_ca_certs()) == len(before) + 1
