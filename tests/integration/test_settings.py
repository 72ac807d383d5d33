"""Settings from files and from the environment, and what is said of those that cannot be."""

import traceback
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from iiif_server.errors import ConfigurationError
from iiif_server.settings import Settings, load_settings
from iiif_server.sources.trusted_web import TrustedWebOptions
from iiif_server.sources.web import WebOptions
from support.apps import picture, running_app
from support.migration import NHM

SEED = (
    NHM
    + """\
  project4:
    source: trusted_web
    regex: https://raw.githubusercontent.com/NaturalHistoryMuseum/.+
"""
)


def written(folder: Path, text: str, name: str = "settings.toml") -> Path:
    """A settings file with this content."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(config: Path | None = None) -> str:
    """What is said of settings that cannot be."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    return str(caught.value)


async def test_the_seeds_settings_start_the_server_unchanged(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, SEED.format(root=tmp_path), "config.yml"))
    assert settings.http_port == 4040
    assert settings.min_sizes_size == 200
    assert (settings.size_pool_size, settings.image_pool_size) == (2, 4)
    assert (settings.info_cache_size, settings.image_cache_size_per_process) == (1024, 5)
    assert settings.max_http_fetches == 10
    assert isinstance(settings.types["project2"], WebOptions)
    assert isinstance(settings.types["project3"], TrustedWebOptions)
    assert isinstance(settings.types["project4"], TrustedWebOptions)
    async with running_app(settings) as server:
        server.put("project1", "banana", picture(500, 400))
        information = (await server.get("/project1:banana/info.json")).json()
        assert information["id"] == "http://10.11.20.12/iiif_images/project1:banana"
        services = server.services
        assert services.header_pool.stats.workers == 2
        assert services.image_pool.stats.workers == 4


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    toml = written(
        tmp_path,
        """
        http_port = 8080
        base_url = "https://images.example.org/iiif/"
        source_path = "originals"
        [types.specimens]
        source = "disk"
        rights = "urn:free"
        [types.photographs]
        source = "web"
        url = "https://example.com/{name}"
        [fetch]
        allow_networks = ["10.0.0.0/8"]
        [cache]
        max_bytes = "20GB"
        """,
    )
    yaml = written(
        tmp_path,
        """
http_port: 8080
base_url: https://images.example.org/iiif/
source_path: originals
types:
  specimens: {source: disk, rights: "urn:free"}
  photographs: {source: web, url: "https://example.com/{name}"}
fetch: {allow_networks: [10.0.0.0/8]}
cache: {max_bytes: 20GB}
""",
        "settings.yaml",
    )
    settings = load_settings(toml)
    assert settings == load_settings(yaml)
    assert settings.base_url == "https://images.example.org/iiif"
    assert settings.fetch.allow_networks == (IPv4Network("10.0.0.0/8"),)
    assert settings.cache.max_bytes == 20_000_000_000


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    for name in ("empty.toml", "empty.yml"):
        settings = load_settings(written(tmp_path, "", name))
        paths = {
            "source_path": tmp_path / "data" / "source",
            "cache_path": tmp_path / "data" / "cache",
        }
        assert settings == Settings.model_validate(paths)


def test_the_example_file_is_in_order() -> None:
    settings = load_settings(Path(__file__).parents[2] / "settings.example.toml")
    assert set(settings.types) == {"specimens", "photographs", "elsewhere"}


def test_the_environment_alone_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIIF_HTTP_PORT", "8080")
    monkeypatch.setenv("IIIF_CACHE__MAX_BYTES", "20GB")
    monkeypatch.setenv("IIIF_TYPES__HERBARIUM__SOURCE", "disk")
    monkeypatch.setenv("IIIF_TYPES__HERBARIUM__CACHE_FOR", "60")
    monkeypatch.setenv("IIIF_TYPES__PHOTOGRAPHS__SOURCE", "web")
    monkeypatch.setenv("IIIF_TYPES__PHOTOGRAPHS__URL", "https://example.com/{name}")
    monkeypatch.setenv("IIIF_FETCH__ALLOW_NETWORKS", '["10.0.0.0/8"]')
    settings = load_settings()
    assert settings.http_port == 8080
    assert settings.cache.max_bytes == 20_000_000_000
    assert settings.types["herbarium"].source == "disk"
    assert settings.types["herbarium"].cache_for == 60
    assert isinstance(settings.types["photographs"], WebOptions)
    assert settings.fetch.allow_networks == (IPv4Network("10.0.0.0/8"),)


def test_the_environment_is_laid_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(
        tmp_path,
        """
        http_port = 1
        min_sizes_size = 7
        [types.photographs]
        source = "web"
        url = "https://example.com/{name}"
        [types.old]
        source = "disk"
        cache_for = 5
        rights = "urn:free"
        [cache]
        max_files = 5
        max_bytes = 1000
        """,
    )
    monkeypatch.setenv("IIIF_HTTP_PORT", "2")
    monkeypatch.setenv("IIIF_CACHE__MAX_BYTES", "2MB")
    monkeypatch.setenv("IIIF_TYPES__HERBARIUM__SOURCE", "disk")
    monkeypatch.setenv("IIIF_TYPES__OLD__CACHE_FOR", "6")
    settings = load_settings(config)
    assert (settings.http_port, settings.min_sizes_size) == (2, 7)
    assert (settings.cache.max_bytes, settings.cache.max_files) == (2_000_000, 5)
    assert set(settings.types) == {"photographs", "old", "herbarium"}
    assert (settings.types["old"].cache_for, settings.types["old"].rights) == (6, "urn:free")


def test_the_file_may_be_named_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IIIF_CONFIG", str(written(tmp_path, "http_port = 1")))
    assert load_settings().http_port == 1
    other = written(tmp_path, "http_port = 2", "other.toml")
    assert load_settings(other).http_port == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("htp_port = 1", "htp_port: there is no such setting; did you mean http_port?"),
        ("[cahce]\nmax_bytes = 1", "cahce: there is no such setting; did you mean cache?"),
        ("[cache]\nmax_byte = 1", "max_byte: there is no such setting; did you mean max_bytes?"),
        ("[fetch]\nallow_network = []", "did you mean allow_networks?"),
        ("[limits]\nmax_pixels = 1", "limits.max_pixels: there is no such setting; did you mean"),
        ("[encoding]\njpg_quality = 1", "did you mean jpeg_quality?"),
        ('[types.a]\nsource = "disk"\nright = "x"', "types.a.right: there is no such setting"),
        ('[types.a]\nsource = "disk"\nright = "x"', "did you mean rights?"),
        ('[types.a]\nsource = "web"\nurI = "http://a/"', "did you mean url?"),
        ('[types.a]\nsource = "disk"\nurl = "http://a/"', "types.a.url: there is no such setting"),
        ('[types.a]\nsource = "trusted_web"\nregexp = "x"', "did you mean regex?"),
        ("zzzzzzzzz = 1", "zzzzzzzzz: there is no such setting"),
        ("_env_file = 'x'", "_env_file: there is no such setting"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest_one(
    tmp_path: Path, text: str, said: str
) -> None:
    message = refusal(written(tmp_path, text))
    assert said in message
    assert "settings.toml" in message


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("IIIF_HTP_PORT", "IIIF_HTP_PORT: there is no such setting; did you mean IIIF_HTTP_PORT?"),
        ("IIIF_CAHCE__MAX_BYTES", "did you mean IIIF_CACHE__MAX_BYTES?"),
        ("iiif_conf", "did you mean IIIF_CONFIG?"),
        ("IIIF_CACHE__MAX_BYTE", "there is no such setting; did you mean IIIF_CACHE__MAX_BYTES?"),
        ("IIIF_CACHE_MAX_BYTES", "did you mean IIIF_CACHE__MAX_BYTES?"),
        ("IIIF_SIGNING_KEYS", "did you mean IIIF_SIGNING__KEYS?"),
        ("IIIF_ADMIN_TOKEN", "did you mean IIIF_ADMIN__TOKEN?"),
        ("IIIF_TYPES__A__CACHE_FOR__X", "there is no such setting"),
        ("IIIF_TYPES__A__CACHE_FO", "did you mean IIIF_TYPES__A__CACHE_FOR?"),
        ("IIIF_HTTP_PORT__X", "there is no such setting"),
        ("IIIF_TYPES__A__SOURC", "did you mean IIIF_TYPES__A__SOURCE?"),
        ("IIIF_TYPES__A__CACHE_FOR", "types.a (IIIF_TYPES__A__CACHE_FOR): a type needs a source"),
    ],
)
def test_an_unknown_variable_is_an_error_as_well(
    monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert said in refusal()


def test_variables_of_others_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIIFX_HTTP_PORT", "1")
    monkeypatch.setenv("HTTP_PORT", "1")
    assert load_settings().http_port == 4040


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "http_port = 70000",
            "http_port: must be a whole number from 0 to 65535; found 70000 (line 1)",
        ),
        ('http_port = "many"', 'http_port: must be a whole number from 0 to 65535; found "many"'),
        ("image_pool_size = 0", "image_pool_size:"),
        ("size_pool_size = 0", "size_pool_size:"),
        ("max_http_fetches = 0", "max_http_fetches:"),
        ("info_cache_size = -1", "info_cache_size:"),
        ('base_url = "images.example.org"', "base_url: must be like https://"),
        ('base_url = "ftp://images.example.org"', "base_url: must be like https://"),
        ('base_url = "https://images.example.org/?a=b"', "base_url: must be like https://"),
        ('log_level = "loud"', "log_level:"),
        ('trusted_proxies = ["everyone"]', "trusted_proxies.0"),
        ('default_type = "missing"', "default_type: 'missing' is not one of the types"),
        ("types = 1", "types:"),
        ("types.a = 1", "types.a:"),
        ("[types.a]\nrights = 'x'", "types.a: a type needs a source"),
        ("[types.a]\nsource = 1", "types.a: a type needs a source"),
        ('[types.a]\nsource = "disc"', "did you mean disk?"),
        ('[types.a]\nsource = "disc"', "there are disk, lookup, objects, trusted_web, web"),
        ('[types.a]\nsource = "web"', "types.a.url: must be set: a URL such as"),
        ('[types.a]\nsource = "web"\nurl = "ftp://x/{name}"', "types.a.url: the URL must begin"),
        (
            '[types.a]\nsource = "web"\nurl = "http://x/y.jpg"',
            "types.a.url: the URL must have a field",
        ),
        ('[types.a]\nsource = "web"\nurl = "http:///{name}"', "types.a.url: the URL must begin"),
        ('[types.a]\nsource = "web"\nurl = "http://{name}.example/"', "not in its host"),
        ('[types.a]\nsource = "web"\nurl = "http://{name}@example.org/"', "not in its host"),
        (
            '[types.a]\nsource = "web"\nurl = "https://h/{nmae}.jpg"',
            'did you mean {name}?; found "https://h/{nmae}.jpg" (line 3)',
        ),
        ('[types.a]\nsource = "trusted_web"', "types.a.prefixes: the type needs prefixes or regex"),
        ('[types.a]\nsource = "trusted_web"\nregex = "("', "types.a.regex: not a regular"),
        ('[types.a]\nsource = "disk"\ncache_for = -1', "types.a.cache_for:"),
        ('[types."a b"]\nsource = "disk"', "the type 'a b' must consist of"),
        ('[types.ark]\nsource = "disk"', "the type 'ark' cannot have this name: identifiers that"),
        ('[types.HTTPS]\nsource = "disk"', "the type 'HTTPS' cannot have this name"),
        ('[types."../x"]\nsource = "disk"', "the type '../x' must consist of"),
        ('[types.".incoming"]\nsource = "disk"', "the type '.incoming' must consist of"),
        ('[fetch]\nallow_networks = ["10.0.0.1/8"]', "fetch.allow_networks.0"),
        ("[fetch]\nfailure_ttl = -1", "fetch.failure_ttl:"),
        ('[cache]\nmax_bytes = "plenty"', "cache.max_bytes:"),
        ("[cache]\nlow_water = 1.5", "cache.low_water:"),
        ("[limits]\nmax_height = 100", "limits.max_height: needs max_width"),
        ("[encoding]\njpeg_quality = 101", "encoding.jpeg_quality:"),
        ('limits.memory = "10MB"', "limits.memory: must be at least 100 MB"),
        ('workers.max_memory = "50MB"', "workers.max_memory: must be at least 300 MB"),
        ('workers.max_resident = "1MB"', "workers.max_resident: must be at least 100 MB"),
        (
            '[types.a]\nsource = "disk"\nrights = "CC-BY"',
            "did you mean https://creativecommons.org/licenses/by/4.0/?",
        ),
        ("limits.formats = []", "limits.formats:"),
        ("http_port = true", "http_port: must be a whole number from 0 to 65535; found true"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(written(tmp_path, text))
    assert said in message
    assert "pydantic" not in message


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "http_port = -1\nbanana = 1\n[cache]\nttl = 0"))
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('limits.formats = ["JPG"]', ["limits.formats.0"]),
        ('limits.formats = ["JPG", 7]', ["limits.formats.0", "limits.formats.1"]),
        ('limits.formats = ["JPEG", "JPG"]', ["limits.formats.1"]),
        ('limits.formats = "JPG"', ["limits.formats.0"]),
        ("limits.formats = []", ["limits.formats"]),
        ('trusted_proxies = ["nonsense"]', ["trusted_proxies.0"]),
        ("signing.keys = [3]", ["signing.keys.0"]),
    ],
)
def test_each_wrong_item_of_a_list_is_one_problem(
    tmp_path: Path, text: str, settings: list[str]
) -> None:
    _, *lines = refusal(written(tmp_path, text)).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == settings


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("IIIF_HTTP_PORT", "many", "http_port"),
        ("IIIF_TRUSTED_PROXIES", "10.0.0.0/8, nonsense", "trusted_proxies"),
        ("IIIF_FETCH__ALLOW_NETWORKS", "10.0.0.0/99", "fetch"),
        ("IIIF_TYPES", "disk", "types"),
        ("IIIF_CACHE", "20GB", "cache"),
        ("IIIF_TYPES__A__SOURCE", "disc", "did you mean disk?"),
        ("IIIF_CONFIG", "/nowhere/settings.toml", "cannot be read"),
    ],
)
def test_a_variable_that_cannot_be_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert said in refusal()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("settings.toml", b"http_port = ", "cannot be parsed"),
        ("settings.toml", b"http_port: 1", "cannot be parsed"),
        ("settings.yml", b"types: [", "cannot be parsed"),
        ("settings.yml", b"- a\n- b\n", "must hold names and values"),
        ("settings.yml", b"just text", "must hold names and values"),
        ("settings.yml", b"1: 2\n", "1: there is no such setting"),
        ("settings.yml", b"!!python/object/apply:os.system ['true']", "cannot be parsed"),
        ("settings.toml", b"base_url = '\xff\xfe'", "cannot be parsed"),
        ("settings.yml", b"base_url: '\xff\xfe'", "cannot be parsed"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert said in message
    assert str(path) in message


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "missing.toml")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


TOKEN = "a-token-that-nobody-else-knows"
KEY = "a-key-that-nobody-else-knows-either-1234"


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIIF_ADMIN__TOKEN", TOKEN)
    monkeypatch.setenv("IIIF_SIGNING__KEYS", f"{KEY}, {KEY}2")
    settings = load_settings()
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == TOKEN
    assert settings.signing.secrets == (KEY.encode(), f"{KEY}2".encode())


def test_secrets_show_in_no_dump(tmp_path: Path) -> None:
    text = f'admin.token = "{TOKEN}"\nsigning.keys = ["{KEY}"]'
    settings = load_settings(written(tmp_path, text))
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert TOKEN not in shown
        assert KEY not in shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.toml", 'admin.token = "S3CRET"'),
        ("settings.toml", 'admin.token = ["S3CRET-S3CRET-S3CRET-S3CRET"]'),
        ("settings.toml", 'admin = "S3CRET-S3CRET-S3CRET-S3CRET"'),
        ("settings.toml", 'admin.tokn = "S3CRET-S3CRET-S3CRET-S3CRET"'),
        ("settings.toml", 'signing.keys = ["S3CRET"]'),
        ("settings.toml", 'signing.keys = [["S3CRET-S3CRET-S3CRET-S3CRET-S3CRET"]]'),
        ("settings.toml", 'signing.keys = "[S3CRET-S3CRET-S3CRET-S3CRET-S3CRET"'),
        ("settings.toml", 'signing = ["S3CRET-S3CRET-S3CRET-S3CRET-S3CRET"]'),
        ("settings.toml", 'admin.token = "S3CRET-S3CRET-S3CRET'),
        ("settings.yml", "admin:\n  token: S3CRET-S3CRET-S3CRET: x"),
        ("settings.yml", 'admin:\n  token: "S3CRET-S3CRET-S3CRET\nhttp_port: 1'),
        ("settings.yml", "admin:\n  token: *S3CRET-S3CRET-S3CRET"),
        ("settings.yml", "admin:\n  token: !S3CRET-S3CRET-S3CRET x"),
        ("settings.yml", "admin:\n  token: [S3CRET-S3CRET-S3CRET"),
        ("settings.yml", "admin:\n  token: %S3CRET"),
        ("settings.yml", "admin:\n  token: `S3CRET"),
    ],
)
def test_secrets_show_in_no_refusal(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, text, name))
    shown = "".join(traceback.format_exception(caught.value))
    assert "S3CRET" not in shown
    assert "S3C" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IIIF_ADMIN__TOKEN", "S3CRET"),
        ("IIIF_ADMIN", '{"token": "S3CRET-S3CRET-S3CRET"'),
        ("IIIF_ADMIN", "S3CRET-S3CRET-S3CRET"),
        ("IIIF_SIGNING__KEYS", "S3CRET"),
        ("IIIF_SIGNING__KEYS", '["S3CRET-S3CRET-S3CRET-S3CRET-S3CRET"'),
        ("IIIF_SIGNING", "S3CRET-S3CRET-S3CRET-S3CRET-S3CRET"),
    ],
)
def test_secrets_of_the_environment_show_in_no_refusal(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "S3CRET" not in "".join(traceback.format_exception(caught.value))


def test_a_signed_type_needs_a_key(tmp_path: Path) -> None:
    text = '[types.closed]\nsource = "disk"\naccess = "signed"\n'
    assert "the type 'closed' is signed: that needs [signing] keys" in refusal(
        written(tmp_path, text)
    )
    settings = load_settings(written(tmp_path, f'{text}[signing]\nkeys = ["{KEY}"]'))
    assert settings.types["closed"].access == "signed"
    assert "types.closed.access" in refusal(written(tmp_path, text.replace("signed", "secret")))
