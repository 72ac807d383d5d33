"""Where settings come from: relative paths, secret files, systemd credentials, overrides."""

from pathlib import Path

import pytest

from iiif_server.errors import ConfigurationError
from iiif_server.settings import Settings, load, load_settings
from iiif_server.sources.web import WebOptions

TOKEN = "a-token-that-nobody-else-knows"
KEY = "a-key-that-nobody-else-knows-either-1234"


def written(folder: Path, text: str, name: str = "settings.toml") -> Path:
    """A file with this content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(config: Path | None = None) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    return str(caught.value)


class TestPaths:
    def test_in_a_file_are_relative_to_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = 'source_path = "scans"\ncache_path = "/var/cache/iiif"'
        config = written(tmp_path / "etc", text)
        monkeypatch.chdir("/")
        settings = load_settings(config)
        assert settings.source_path == tmp_path / "etc" / "scans"
        assert settings.cache_path == Path("/var/cache/iiif")

    def test_in_yaml_too_and_the_file_may_be_named_relatively(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(tmp_path / "etc", "source_path: scans\n", "s.yml")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("IIIF_CONFIG", "etc/s.yml")
        settings = load_settings()
        assert settings.source_path == tmp_path / "etc" / "scans"
        assert settings.cache_path == tmp_path / "etc" / "data" / "cache"

    def test_in_variables_are_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = written(tmp_path / "etc", 'source_path = "scans"')
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("IIIF_SOURCE_PATH", "pictures")
        assert load_settings(config).source_path == tmp_path / "pictures"

    def test_of_the_home_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        config = written(tmp_path, 'source_path = "~/scans"')
        assert load_settings(config).source_path == tmp_path / "home" / "scans"

    def test_defaults_come_from_systemd_or_the_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/x:/var/lib/x/source")
        monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/x")
        settings = load_settings(written(tmp_path, ""))
        assert settings.source_path == Path("/var/lib/x/source")
        assert settings.cache_path == Path("/var/cache/x")
        loaded = load(written(tmp_path, 'source_path = "/a"\ncache_path = "/b"'))
        assert (loaded.settings.source_path, loaded.settings.cache_path) == (Path("/a"), Path("/b"))
        assert loaded.warnings == ()

    @pytest.mark.parametrize(
        ("cache", "source"),
        [
            ("/", "/srv/scans"),
            ("/srv/scans", "/srv/scans"),
            ("/srv/scans/a", "/srv/scans"),
            ("/srv/scans/a/deep", "/srv/scans"),
            ("/srv", "/srv/scans"),
        ],
    )
    def test_the_cache_and_originals_are_apart(
        self, tmp_path: Path, cache: str, source: str
    ) -> None:
        text = f'cache_path = "{cache}"\nsource_path = "{source}"\n[types.a]\nsource = "disk"\n'
        assert "cache_path: " in refusal(written(tmp_path, text))

    def test_a_cache_beside_the_types_is_accepted(self, tmp_path: Path) -> None:
        text = 'cache_path = "/srv/cache"\nsource_path = "/srv"\n[types.a]\nsource = "disk"\n'
        assert load_settings(written(tmp_path, text)).cache_path == Path("/srv/cache")


class TestSecretFiles:
    @pytest.fixture(autouse=True)
    def secret(self, tmp_path: Path) -> Path:
        path = written(tmp_path, f"{TOKEN}\n", "token")
        path.chmod(0o600)
        return path

    def test_named_by_a_variable(self, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IIIF_ADMIN__TOKEN_FILE", str(secret))
        monkeypatch.setenv("IIIF_METRICS__TOKEN_FILE", str(secret))
        loaded = load()
        for token in (loaded.settings.admin.token, loaded.settings.metrics.token):
            assert token is not None
            assert token.get_secret_value() == TOKEN
        assert loaded.warnings == ()

    def test_named_in_the_settings_file(self, tmp_path: Path) -> None:
        written(tmp_path, f"{KEY}\n\n  {KEY}2\r\n", "keys").chmod(0o600)
        text = 'signing.keys_file = "keys"\n[admin]\ntoken_file = "./token"\n'
        settings = load_settings(written(tmp_path, text))
        assert settings.admin.token is not None
        assert settings.admin.token.get_secret_value() == TOKEN
        assert settings.signing.secrets == (KEY.encode(), f"{KEY}2".encode())

    def test_a_url_with_a_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = written(tmp_path, "https://me:word@example.org/{name}\n", "url")
        url.chmod(0o600)
        monkeypatch.setenv("IIIF_TYPES__A__SOURCE", "web")
        monkeypatch.setenv("IIIF_TYPES__A__URL_FILE", str(url))
        options = load_settings().types["a"]
        assert isinstance(options, WebOptions)
        assert options.url == "https://me:word@example.org/{name}"

    def test_systemd_credentials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "credentials"
        written(folder, TOKEN, "admin.token")
        written(folder, f"{KEY}\n", "signing.keys")
        written(folder, "of others", "tls-certificate")
        written(folder, "x", "admin.tokn")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        loaded = load(written(tmp_path, 'metrics.token = "quite-another-token"', "s.toml"))
        assert loaded.settings.admin.token is not None
        assert loaded.settings.admin.token.get_secret_value() == TOKEN
        assert loaded.settings.signing.secrets == (KEY.encode(),)
        assert any("admin.tokn is no secret setting; did you mean" in w for w in loaded.warnings)
        assert not any("tls-certificate" in warning for warning in loaded.warnings)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read: No such file"),
            (b"", "is empty"),
            (b"\n \n", "is empty"),
            (b"\xff\xfe\x00", "is not text in UTF-8"),
            (b"short\n", "must have at least 16 characters"),
        ],
    )
    def test_that_cannot_be_used(
        self, tmp_path: Path, content: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "other"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("IIIF_ADMIN__TOKEN_FILE", str(path))
        message = refusal()
        assert said in message
        assert "admin.token (IIIF_ADMIN__TOKEN_FILE): " in message
        assert "short" not in message

    def test_a_secret_that_is_given_twice(
        self, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IIIF_ADMIN__TOKEN_FILE", str(secret))
        monkeypatch.setenv("IIIF_ADMIN__TOKEN", TOKEN)
        assert "is given directly as well; remove one of the two" in refusal()
        monkeypatch.delenv("IIIF_ADMIN__TOKEN")
        monkeypatch.delenv("IIIF_ADMIN__TOKEN_FILE")
        text = f'admin = {{ token = "{TOKEN}", token_file = "token" }}'
        assert "is given directly as well" in refusal(written(tmp_path, text))

    def test_only_secrets_come_from_files(
        self, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IIIF_HTTP_PORT_FILE", str(secret))
        assert "IIIF_HTTP_PORT_FILE: there is no such setting" in refusal()

    def test_that_others_may_read_is_a_warning(
        self, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret.chmod(0o644)
        monkeypatch.setenv("IIIF_ADMIN__TOKEN_FILE", str(secret))
        (warning,) = load().warnings
        assert f"other users may read {secret}" in warning
        monkeypatch.delenv("IIIF_ADMIN__TOKEN_FILE")
        config = written(tmp_path, f'[admin]\ntoken = "{TOKEN}"')
        config.chmod(0o644)
        (warning,) = load(config).warnings
        assert f"Other users may read {config}, which has secrets" in warning
        config.chmod(0o640)
        assert load(config).warnings == ()


class TestOverrides:
    def test_name_both_values(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = written(
            tmp_path,
            'http_port = 1\nlog_level = "info"\nmin_sizes_size = 7\n[cache]\nmax_bytes = "1 GB"\n',
        )
        monkeypatch.setenv("IIIF_HTTP_PORT", "2")
        monkeypatch.setenv("IIIF_LOG_LEVEL", "info")
        monkeypatch.setenv("IIIF_CACHE__MAX_BYTES", "2GB")
        monkeypatch.setenv("IIIF_INFO_CACHE_SIZE", "5")
        assert sorted(load(config).warnings) == [
            f'IIIF_CACHE__MAX_BYTES overrides cache.max_bytes in {config}: "2GB" instead of "1 GB"',
            f'IIIF_HTTP_PORT overrides http_port in {config}: "2" instead of 1',
        ]

    def test_show_no_secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "https://me:S3CRET@example.org/{name}?key=S3CRET"
        config = written(
            tmp_path, f'admin.token = "S3CRET-{TOKEN}"\n[types.a]\nsource = "web"\nurl = "{url}"\n'
        )
        config.chmod(0o600)
        monkeypatch.setenv("IIIF_ADMIN__TOKEN", f"{TOKEN}-S3CRET")
        monkeypatch.setenv("IIIF_TYPES__A__URL", "https://you:S3CRET@example.org/{name}")
        warnings = load(config).warnings
        assert len(warnings) == 2
        assert "S3CRET" not in str(warnings)

    def test_that_change_nothing_are_not_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = written(tmp_path, 'trusted_proxies = ["10.0.0.0/8", "::1/128"]\nhttp_port = 7\n')
        monkeypatch.setenv("IIIF_TRUSTED_PROXIES", "10.0.0.0/8, ::1/128")
        monkeypatch.setenv("IIIF_HTTP_PORT", "7")
        assert load(config).warnings == ()


class TestPydanticSettings:
    def test_settings_built_directly_read_no_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_text("IIIF_HTTP_PORT=5002")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("IIIF_HTTP_PORT", "5001")
        monkeypatch.setenv("IIIF_ADMIN__TOKEN", TOKEN)
        settings = Settings(info_cache_size=7)
        assert (settings.http_port, settings.info_cache_size) == (4040, 7)
        assert settings.admin.token is None
        assert load_settings().http_port == 5001
        assert Settings().http_port == 4040  # what was loaded before has no effect either

    def test_the_environment_overrides_one_setting_of_a_table_in_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = written(tmp_path, '[cache]\nmax_files = 5\nmax_bytes = "1 GB"')
        monkeypatch.setenv("IIIF_CACHE__MAX_FILES", "6")
        cache = load_settings(config).cache
        assert (cache.max_files, cache.max_bytes) == (6, 10**9)

    @pytest.mark.parametrize(
        "name", ["_env_file", "_secrets_dir", "_cli_parse_args", "_build_sources", "self"]
    )
    def test_names_of_its_arguments_are_no_settings(self, tmp_path: Path, name: str) -> None:
        text = refusal(written(tmp_path, f'{name} = "x"\nhttp_port = "many"'))
        assert f"{name}: there is no such setting" in text
        assert "http_port: must be a whole number" in text
