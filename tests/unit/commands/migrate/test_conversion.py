"""Settings and report that `migrate` makes of each configuration."""

import tomllib
from typing import Any

import pytest

from iiif_server.commands.migrate.cantaloupe import from_cantaloupe
from iiif_server.commands.migrate.conversion import Conversion
from iiif_server.commands.migrate.loris import from_loris
from iiif_server.commands.migrate.nhm import from_nhm, from_seed
from iiif_server.commands.migrate.writing import report, settings_text

SEED_TYPES = {
    "project1": {"source": "disk"},
    "project2": {"source": "web", "url": "http://example.com/storage/images/{name}.jpg"},
    "project3": {
        "source": "web",
        "regex": "https://raw.githubusercontent.com/NaturalHistoryMuseum/.+",
    },
}
FILES = "FilesystemSource.BasicLookupStrategy"
HTTP = "HttpSource.BasicLookupStrategy"


def settings(move: Conversion) -> Any:
    """The settings as the server would read them."""
    return tomllib.loads(settings_text(move, "old"))


def lacking(move: Conversion) -> dict[str, str]:
    return dict(move.unsupported)


class TestSeed:
    def test_settings_keep_their_names(self) -> None:
        values = {
            "base_url": "http://10.11.20.12/iiif_images",
            "http_port": 4040,
            "cache_path": "/var/lib/cache",
            "source_path": "/var/lib/source",
            "min_sizes_size": 200,
            "size_pool_size": 2,
            "image_pool_size": 4,
            "info_cache_size": 1024,
            "image_cache_size_per_process": 5,
            "max_http_fetches": 10,
        }
        move = from_seed({**values, "types": SEED_TYPES})
        found = settings(move)
        types = found.pop("types")
        assert found == values
        assert types["project1"] == SEED_TYPES["project1"]
        assert types["project2"] == SEED_TYPES["project2"]
        assert types["project3"] == {**SEED_TYPES["project3"], "source": "trusted_web"}
        assert not move.unsupported

    @pytest.mark.parametrize(
        ("before", "now", "told"),
        [
            ("https://example.org/.+", "https://example.org/.+", False),
            ("https://example.org/images/", "https://example.org/images/.*", False),
            ("https://example.org", "https://example.org", True),
        ],
    )
    def test_what_a_url_began_with_is_what_it_still_may_begin_with(
        self,
        before: str,
        now: str,
        told: bool,  # noqa: FBT001 - a row of the table
    ) -> None:
        move = from_seed({"types": {"a": {"source": "trusted_web", "regex": before}}})
        assert settings(move)["types"]["a"]["regex"] == now
        assert any("whole URL" in difference.what for difference in move.differences) is told

    @pytest.mark.parametrize(
        ("url", "networks"),
        [
            ("http://localhost:8080/{name}", ["127.0.0.0/8", "::1/128"]),
            ("http://10.1.2.3/{name}", ["10.1.2.3/32"]),
            ("http://[fd00::1]/{name}", ["fd00::1/128"]),
            ("http://93.184.215.14/{name}", None),
        ],
    )
    def test_private_hosts_stay_allowed(self, url: str, networks: list[str] | None) -> None:
        found = settings(from_seed({"types": {"a": {"source": "web", "url": url}}}))
        assert found.get("fetch", {}).get("allow_networks") == networks

    def test_hosts_that_may_be_private_are_named_once(self) -> None:
        urls = {name: {"source": "web", "url": "http://images.lan/{name}"} for name in "ab"}
        assert report(from_seed({"types": urls})).count("images.lan") == 1

    def test_what_there_is_not_is_said(self) -> None:
        types = {"a b": {"source": "disk"}, "c": {"source": "mss"}, "d": {"source": "disk", "x": 1}}
        move = from_seed({"types": types, "colour": "blue", "http_port": "many"})
        assert set(lacking(move)) == {"types.a b", "types.c", "types.d.x", "colour", "http_port"}
        assert settings(move)["types"] == {"d": {"source": "disk"}}


class TestNhm:
    def test_profiles_become_types(self) -> None:
        move = from_nhm(
            {
                "base_url": "https://data.example.org/media/",
                "source_path": "/base/source",
                "pool_size": 6,
                "default_profile": "example",
                "processed_cache_size": 268435456,
                "processed_cache_ttl": 43200,
                "profiles": {
                    "example": {
                        "type": "disk",
                        "rights": "http://creativecommons.org/licenses/by/4.0/",
                        "convert_quality": 90,
                    },
                    "vfactor": {"type": "disk", "rights": "x", "cache_for": 600},
                },
            }
        )
        assert settings(move) == {
            "base_url": "https://data.example.org/media",
            "source_path": "/base/source",
            "image_pool_size": 6,
            "default_type": "example",
            "cache": {"max_bytes": 268435456, "ttl": 43200},
            "encoding": {"jpeg_quality": 90},
            "types": {
                "example": {
                    "source": "disk",
                    "rights": "http://creativecommons.org/licenses/by/4.0/",
                    "cache_for": 60,
                },
                "vfactor": {"source": "disk", "rights": "x", "cache_for": 600},
            },
        }

    def test_what_has_no_equivalent_is_named(self) -> None:
        move = from_nhm(
            {
                "base_url": "/media",
                "default_profile": "mss",
                "download_max_files": 20,
                "image_pool_size": 4,
                "colour": "blue",
                "profiles": {
                    "mss": {"type": "mss", "rights": "x"},
                    "a": {"type": "disk", "rights": "x", "cache_size": 1, "convert_quality": 80},
                    "b": {"type": "disk", "rights": "x", "convert_quality": 90},
                },
            }
        )
        assert set(lacking(move)) == {
            "base_url",
            "default_profile",
            "download_max_files",
            "image_pool_size",
            "colour",
            "profiles.mss (type mss)",
            "profiles.a.cache_size",
            "profiles.*.convert_quality",
        }

    def test_short_addresses_have_long_ones_of_the_same_size(self) -> None:
        text = report(
            from_nhm({"thumbnail_width": 500, "profiles": {"a": {"type": "disk", "rights": "x"}}})
        )
        assert "/a:1.jpg/thumbnail" in text
        assert "/a:1.jpg/full/!500,500/0/default.jpg" in text
        assert "/a:1.jpg/full/!2048,2048/0/default.jpg" in text


class TestCantaloupe:
    def test_files_stay_where_they_are_and_identifiers_as_they_were(self) -> None:
        move = from_cantaloupe(
            {
                "http.host": "0.0.0.0",  # noqa: S104 - as in the sample file
                "http.port": "8182",
                "base_uri": "https://iiif.example.org/",
                "max_pixels": "10000000",
                "endpoint.iiif.min_size": "64",
                "source.static": "FilesystemSource",
                f"{FILES}.path_prefix": "/home/myself/images/",
                "processor.jpg.quality": "80",
                "cache.server.derivative.ttl_seconds": "2592000",
                "FilesystemCache.pathname": "/var/cache/cantaloupe",
                "cache.client.max_age": "3600",
                "log.application.level": "warn",
            }
        )
        assert settings(move) == {
            "http_host": "0.0.0.0",  # noqa: S104
            "http_port": 8182,
            "base_url": "https://iiif.example.org",
            "min_sizes_size": 64,
            "default_type": "images",
            "cache_path": "/var/cache/cantaloupe/iiif-server",
            "log_level": "warning",
            "types": {
                "images": {"source": "disk", "path": "/home/myself/images", "cache_for": 3600}
            },
            "limits": {"max_area": 10_000_000},
            "encoding": {"jpeg_quality": 80},
            "cache": {"ttl": 2_592_000},
        }
        assert not move.unsupported

    @pytest.mark.parametrize(
        ("prefix", "suffix", "type_"),
        [
            ("/images/", "", {"path": "/images"}),
            ("/srv/my images/", ".tif", {"path": "/srv/my images", "suffix": ".tif"}),
            ("/srv/images/scan-", "/m.tif", {"path": "/srv/images", "prefix": "scan-",
                                             "suffix": "/m.tif"}),
            ("/", "", {"path": "/"}),
        ],
    )  # fmt: skip
    def test_prefix_and_suffix_are_those_of_the_type(
        self, prefix: str, suffix: str, type_: dict[str, str]
    ) -> None:
        values = {f"{FILES}.path_prefix": prefix, f"{FILES}.path_suffix": suffix}
        move = from_cantaloupe({"source.static": "FilesystemSource", **values})
        assert settings(move)["types"] == {"images": {"source": "disk", **type_}}
        assert not move.unsupported

    def test_buckets_and_containers_become_types(self) -> None:
        bucket = "S3Source.BasicLookupStrategy"
        move = from_cantaloupe(
            {
                "source.static": "S3Source",
                "S3Source.endpoint": "https://minio.example.org",
                "S3Source.region": "eu-central-1",
                "S3Source.access_key_id": "AKIA",
                "S3Source.secret_key": "S3CRET",
                f"{bucket}.bucket.name": "scans",
                f"{bucket}.path_prefix": "a/",
                f"{bucket}.path_suffix": ".tif",
            }
        )
        assert settings(move)["types"]["s3"] == {
            "source": "objects",
            "url": "s3://scans/a/{name}.tif",
            "endpoint": "https://minio.example.org",
            "region": "eu-central-1",
        }
        assert "S3CRET" not in report(move) + settings_text(move, "old")
        assert "secret_access_key_file" in report(move)
        assert not move.unsupported
        azure = from_cantaloupe(
            {
                "source.static": "AzureStorageSource",
                "AzureStorageSource.account_name": "museum",
                "AzureStorageSource.container_name": "scans",
            }
        )
        assert settings(azure)["types"]["azure"] == {
            "source": "objects",
            "url": "az://scans/{name}",
            "account": "museum",
        }

    def test_a_delegate_becomes_a_lookup_over_all_sources(self) -> None:
        move = from_cantaloupe(
            {
                "source.static": "FilesystemSource",
                "source.delegate": "true",
                f"{FILES}.path_prefix": "/srv/scans/",
                f"{HTTP}.url_prefix": "https://example.org/images/x-",
                "S3Source.BasicLookupStrategy.bucket.name": "scans",
            }
        )
        found = settings(move)
        assert found["default_type"] == "lookup"
        assert found["types"]["lookup"] == {
            "source": "lookup",
            "types": ["scans", "web", "s3"],
            "table": "identifiers.csv",
        }
        assert {found["types"][name]["access"] for name in ("scans", "web", "s3")} == {"internal"}
        assert found["types"]["web"]["prefixes"] == ["https://example.org/images/"]
        assert "Port what the delegate script returns" in report(move)
        assert not move.unsupported

    def test_a_script_that_looks_up_files_becomes_a_lookup(self) -> None:
        move = from_cantaloupe(
            {
                "source.static": "FilesystemSource",
                "FilesystemSource.lookup_strategy": "ScriptLookupStrategy",
                f"{FILES}.path_prefix": "/srv/scans/",
            }
        )
        assert settings(move)["default_type"] == "lookup"
        assert not move.unsupported

    def test_http_sources_become_a_type_web(self) -> None:
        move = from_cantaloupe(
            {
                "source.static": "HttpSource",
                f"{HTTP}.url_prefix": "http://localhost/images/",
                f"{HTTP}.url_suffix": ".tif",
                f"{HTTP}.auth.basic.username": "myself",
                f"{HTTP}.auth.basic.secret": "S3CRET",
                "HttpSource.request_timeout": "30",
            }
        )
        found = settings(move)
        assert found["types"]["web"] == {
            "source": "web",
            "url": "http://localhost/images/{name}.tif",
        }
        assert found["default_type"] == "web"
        assert found["fetch"] == {
            "allow_networks": ["127.0.0.0/8", "::1/128"],
            "total_timeout": 30,
        }
        assert "S3CRET" not in report(move) + settings_text(move, "old")

    def test_earlier_versions_called_things_otherwise(self) -> None:
        move = from_cantaloupe(
            {
                "resolver": "FilesystemResolver",
                "FilesystemResolver.path_prefix": "/home/myself/images/",
                "FilesystemCache.ttl_seconds": "60",
                "Java2dProcessor.jpg.quality": "0.7f",
            }
        )
        found = settings(move)
        assert found["types"]["images"]["path"] == "/home/myself/images"
        assert found["cache"] == {"ttl": 60}
        assert found["encoding"] == {"jpeg_quality": 70}

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"source.static": "S3Source"}, "S3Source.BasicLookupStrategy.bucket.name"),
            ({"source.static": "MineSource"}, "source.static = MineSource"),
            ({"source.static": "JdbcSource"}, "source.static = JdbcSource"),
            ({"source.delegate": "true"}, "source.delegate"),
            ({"source.static": "FilesystemSource"}, f"{FILES}.path_prefix"),
            ({"source.static": "HttpSource"}, f"{HTTP}.url_prefix"),
            ({"slash_substitute": ":"}, "slash_substitute"),
            ({"endpoint.iiif.restrict_to_sizes": "true"}, "endpoint.iiif.restrict_to_sizes"),
            ({"overlays.BasicStrategy.image": "x.png"}, "overlays.*"),
            ({"https.key_store_password": "S3CRET"}, "https.*"),
            ({"something.new": "1"}, "something.new"),
        ],
    )
    def test_what_has_no_equivalent_is_named(self, values: dict[str, str], named: str) -> None:
        move = from_cantaloupe(values)
        assert named in lacking(move)
        assert lacking(move)[named]

    def test_sources_that_are_not_used_need_no_word(self) -> None:
        move = from_cantaloupe(
            {
                "source.static": "FilesystemSource",
                f"{FILES}.path_prefix": "/home/myself/images/",
                "S3Source.access_key_id": "S3CRET",
                "JdbcSource.password": "S3CRET",
                "RedisCache.password": "S3CRET",
            }
        )
        assert not move.unsupported

    def test_what_is_switched_off_needs_no_word(self) -> None:
        move = from_cantaloupe(
            {
                "https.enabled": "false",
                "https.key_store_path": "/path/to/keystore.jks",
                "delegate_script.enabled": "false",
                "delegate_script.pathname": "delegates.rb",
                "overlays.BasicStrategy.enabled": "true",
                "overlays.BasicStrategy.type": "image",
            }
        )
        assert set(lacking(move)) == {"overlays.*"}

    def test_settings_of_processors_and_of_the_cache_are_named_together(self) -> None:
        move = from_cantaloupe(
            {
                "cache.server.derivative": "S3Cache",
                "S3Cache.secret_key": "S3CRET",
                "OpenJpegProcessor.path_to_binaries": "/usr/bin",
                "processor.dpi": "150",
            }
        )
        assert set(lacking(move)) == {"cache.server.*", "processor.*"}
        assert "S3CRET" not in report(move)

    @pytest.mark.parametrize(
        ("values", "before", "now"),
        [
            ({"endpoint.iiif.1.enabled": "true"}, "/iiif/1/1.jpg", "/iiif/2/1.jpg"),
            ({}, "/iiif/2/1.jpg;1:2/info.json", "/iiif/2/1.jpg/info.json"),
            ({}, "/iiif/2/ms:1234.jpg", "/iiif/2/images:ms:1234.jpg"),
        ],
    )
    def test_addresses_that_differ_have_examples(
        self, values: dict[str, str], before: str, now: str
    ) -> None:
        move = from_cantaloupe(values)
        assert any(
            before in difference.before and now in difference.now for difference in move.differences
        )


class TestLoris:
    def test_files_stay_where_they_are(self) -> None:
        move = from_loris(
            {
                "resolver.impl": "loris.resolver.SimpleFSResolver",
                "resolver.src_img_root": "/usr/local/share/images",
                "img.ImageCache.cache_dp": "/var/cache/loris",
                "loris.Loris.redirect_canonical_image_request": True,
                "logging.log_level": "WARNING",
            }
        )
        assert settings(move) == {
            "default_type": "images",
            "cache_path": "/var/cache/loris/iiif-server",
            "canonical_redirect": True,
            "log_level": "warning",
            "types": {"images": {"source": "disk", "path": "/usr/local/share/images"}},
        }

    def test_several_folders_are_one_type(self) -> None:
        move = from_loris(
            {"resolver.impl": "SimpleFSResolver", "resolver.src_img_roots": "/a/one, /b/two"}
        )
        assert settings(move)["default_type"] == "one"
        assert settings(move)["types"]["one"]["path"] == ["/a/one", "/b/two"]
        assert not move.unsupported

    def test_http_resolvers_become_a_type_web(self) -> None:
        move = from_loris(
            {
                "resolver.impl": "loris.resolver.SimpleHTTPResolver",
                "resolver.source_prefix": "https://example.org/objects/",
                "resolver.source_suffix": "/content",
                "resolver.uri_resolvable": True,
                "resolver.user": "loris",
                "resolver.pw": "S3CRET",
                "resolver.cert": "/etc/client.pem",
                "resolver.key": "/etc/client.key",
            }
        )
        found = settings(move)
        assert found["types"]["web"]["url"] == "https://example.org/objects/{name}/content"
        assert found["types"]["web"]["client_certificate"] == "/etc/client.pem"
        assert set(lacking(move)) == {"resolver.uri_resolvable"}
        assert "S3CRET" not in report(move) + settings_text(move, "loris.conf")

    def test_templates_become_types_with_the_same_identifiers(self) -> None:
        move = from_loris(
            {
                "resolver.impl": "loris.resolver.TemplateHTTPResolver",
                "resolver.templates": "a, b, c",
                "resolver.a.url": "https://example.org/%s",
                "resolver.b": "https://example.org/b/%s",
                "resolver.c.url": "https://example.org/%s/%s",
            }
        )
        found = settings(move)
        assert {name: options["url"] for name, options in found["types"].items()} == {
            "a": "https://example.org/{name}",
            "b": "https://example.org/b/{name}",
        }
        assert "default_type" not in found
        assert set(lacking(move)) == {"resolver.templates: c"}

    def test_other_resolvers_and_transforms_are_named(self) -> None:
        move = from_loris({"resolver.impl": "mine.Resolver", "transforms.jp2.impl": "Kakadu"})
        assert {"resolver.impl = Resolver", "transforms*"} == set(lacking(move))

    def test_the_older_version_is_somewhere_else(self) -> None:
        assert "/iiif/2/images:1.jpg/full" not in report(from_loris({}))
        assert "/iiif/2/1.jpg/full/full/0/default.jpg" in report(from_loris({}))


def test_values_are_written_as_toml_whatever_is_in_them() -> None:
    odd = 'a"b\\c\n# ü'
    move = from_seed({"source_path": odd, "types": {"a.b": {"source": "disk"}}})
    assert settings(move) == {"source_path": odd, "types": {"a.b": {"source": "disk"}}}


def test_comments_say_where_a_setting_comes_from() -> None:
    text = settings_text(from_nhm({"pool_size": 3}), "config.yml")
    assert text.startswith("# Made of config.yml by `iiif-server migrate`")
    (line,) = [line for line in text.splitlines() if line.startswith("image_pool_size")]
    assert line == "image_pool_size = 3                               # pool_size"
    assert text.endswith("\n")
