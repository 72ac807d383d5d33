"""What is said of settings that cannot be used: the setting, the value, what is accepted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_server.configuration import models
from iiif_server.configuration.problems import dotted
from iiif_server.errors import ConfigurationError
from iiif_server.settings import Settings, load_settings

FOREIGN = re.compile(
    r"pydantic|Input should|string_|Field required|valid (?:integer|string|boolean)|\^|\\d|Errno|"
    r"Expecting|type=|input_value"
)
"""Words of pydantic, of json and of regular expressions."""
NAMES: list[tuple[str | int, ...]] = [path for path in models.names(Settings) if len(path) < 3]
TYPE_NAMES: list[tuple[str | int, ...]] = [
    ("types", "a", name)
    for name in ("source", "rights", "access", "cache_for", "immutable", "info")
]
WRONG: list[Any] = [
    "no-such-VALUE",
    -7.5,
    10**40,
    float("nan"),
    float("inf"),
    True,
    [],
    ["no-such-VALUE"],
    {"no": "table"},
    "",
    "\0",
]


def refusal(config: Path | None = None) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    return str(caught.value)


def written(folder: Path, text: str, name: str = "settings.toml") -> Path:
    """A settings file with this content."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\0", "\\u0000") + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in value.items())} }}"
    return str(value)


def _messages(folder: Path, path: tuple[Any, ...]) -> Iterator[tuple[Any, str]]:
    of_type = path[0] == "types" and path[2] != "source"
    table, name = '[types.a]\nsource = "disk"\n', dotted(path)
    for value in WRONG:
        text = f"{table}{path[-1]}" if of_type else name
        try:
            load_settings(written(folder, f"{text} = {_toml(value)}"))
        except ConfigurationError as error:
            yield value, str(error)


@pytest.mark.parametrize("path", NAMES + TYPE_NAMES, ids=dotted)
def test_a_wrong_value_of_any_setting_is_explained(tmp_path: Path, path: tuple[Any, ...]) -> None:
    messages = list(_messages(tmp_path, path))
    assert len(messages) >= 3, "hardly any value is refused"
    for value, message in messages:
        said = message.partition("\n")[2]
        assert not FOREIGN.search(said), said
        assert dotted(path if path[-1] != "source" else path[:2]) in said, (value, said)
        assert "line " in said
        assert re.search("must be|needs|must have|no source|not one of", said), said
        is_secret = {"token", "keys", "secret_access_key"}.intersection(path)
        if isinstance(value, (bool, float)) and not is_secret and path[-1] != "source":
            assert "found" in said, said


@pytest.mark.parametrize("path", NAMES, ids=dotted)
def test_a_wrong_variable_is_explained(
    path: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "IIIF_" + "__".join(map(str, path)).upper()
    monkeypatch.setenv(variable, "\n")
    field, _ = models.find(Settings, path, {})
    assert field is not None
    try:
        load_settings()
    except ConfigurationError as error:
        message = str(error)
        assert variable in message
        assert not FOREIGN.search(message)
    else:
        assert models.is_text(field) or models.is_list(field)


def test_everything_that_is_wrong_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the file, of variables, of secret files, and of settings that do not fit together."""
    monkeypatch.setenv("IIIF_CACHE_MAX_BYTES", "1GB")
    monkeypatch.setenv("IIIF_HTTP_CONNECTIONS", "many")
    monkeypatch.setenv("IIIF_ADMIN__TOKEN_FILE", "/nowhere/token")
    message = refusal(
        written(
            tmp_path,
            """
            http_port = 70000
            banana = 1
            default_type = "photos"
            trusted_proxies = ["10.0.0.1/8", "everyone"]
            root_path = "iiif"
            log_level = "loud"
            [cache]
            ttl = "soon"
            [limits]
            max_height = 5
            [types.photo]
            source = "disk"
            access = "signed"
            cache_for = "a while"
            [types."a b"]
            source = "disk"
            [types."c d"]
            source = "disc"
            """,
        )
    )
    for said in (
        "IIIF_CACHE_MAX_BYTES: there is no such setting; did you mean IIIF_CACHE__MAX_BYTES?",
        "http_connections (IIIF_HTTP_CONNECTIONS): must be a whole number of at least 1",
        "admin.token (IIIF_ADMIN__TOKEN_FILE): /nowhere/token cannot be read: No such file",
        "http_port: must be a whole number from 0 to 65535; found 70000 (line 2)",
        "banana: there is no such setting (line 3)",
        'trusted_proxies.0: must be a network in CIDR notation such as "10.0.0.0/8"',
        'did you mean "10.0.0.0/8"?; found "10.0.0.1/8" (line 5)',
        'found "everyone"',
        'root_path: must be a path such as "/images"',
        'log_level: must be "debug", "info", "warning" or "error"; found "loud" (line 7)',
        'cache.ttl: must be a duration such as "30 days", "12 h" or "90 s"; found "soon" (line 9)',
        "limits.max_height: needs max_width",
        'types.photo.cache_for: must be a duration such as "30 days"',
        "the type 'a b' must consist of",
        "the type 'c d' must consist of",
        "default_type: 'photos' is not one of the types; did you mean photo?",
        "the type 'photo' is signed: that needs [signing] keys",
    ):
        assert said in message
    assert len(message.splitlines()) == 1 + 17


def test_no_problem_is_invented_by_leaving_wrong_settings_out(tmp_path: Path) -> None:
    message = refusal(
        written(
            tmp_path,
            """
            default_type = "a"
            signing.keys = ["short"]
            [limits]
            max_width = "wide"
            max_height = 5
            [types.a]
            source = "web"
            access = "signed"
            """,
        )
    )
    assert [line.partition(":")[0].strip() for line in message.splitlines()[1:]] == [
        "signing.keys",
        "limits.max_width",
        "types.a.url",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "http_host = localhost",
            'text needs quotation marks: name = "text"\n    http_host = local',
        ),
        ("source_path = /srv/scans", "text needs quotation marks"),
        ("cache.max_bytes = 10 GB", 'a value with a unit needs quotation marks, as "10 GB"'),
        ("cache.max_bytes = 10GB", 'a value with a unit needs quotation marks, as "10 GB"'),
        (r'source_path = "C:\images"', r"write 'C:\images' in single quotes, or C:/images"),
        (r'source_path = "C:\Users\me"', r"write 'C:\images' in single quotes, or C:/images"),
        ("http_port: 4040", "for YAML, with name: value, call the file settings.yml"),
        ("pages.gallery = True", "true and false are written in lower case"),
        ("base_url = None", "leave a setting out to have its default"),
        ("http_port =", "a value is missing"),
        ("http_port = 1\nhttp_port = 2", "this name is set twice"),
        ("[cache]\n[cache]", "this name is set twice"),
        ('base_url = "https://example.org', "not closed"),
        ('trusted_proxies = ["10.0.0.0/8"', "not closed"),
        ("base_url = \N{LEFT DOUBLE QUOTATION MARK}x\N{RIGHT DOUBLE QUOTATION MARK}", "straight"),
        ("[cache", "a table needs the form [name]"),
        ("just words", "each line needs the form name = value"),
        ('http_port = 1 log_level = "info"', "something follows the value on the same line"),
    ],
)
def test_help_with_toml(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(written(tmp_path, f"# settings\n{text}\n"))
    assert said in message
    assert re.search(r"\(line \d, column \d+\)|at its end", message)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache:\n\tmax_bytes: 1", "tabs are not allowed in YAML; indent with spaces"),
        ("base_url: a: b", 'text with a colon needs quotation marks: name: "a: b"'),
        ("base_url: @x", "text that begins with @ needs quotation marks"),
        ("base_url: `x`", "text that begins with ` needs quotation marks"),
        ("cache:\n    max_bytes: 1\n  ttl: 2", "must be indented alike"),
        ("http_port: 1\nhttp_port: 2", "this name is set twice"),
        ("cache: {ttl: 1, ttl: 2}", "this name is set twice"),
        ('base_url: "C:\\images"', "single quotes"),
    ],
)
def test_help_with_yaml(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(written(tmp_path, f"# settings\n{text}\n", "settings.yml"))
    assert said in message
    assert re.search(r"\(line \d, column \d+\)", message)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_file_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes('[pages]\ntitle = "Größe"\n'.encode(encoding))
    assert "save it as UTF-8" in refusal(path) or "cannot be parsed" in refusal(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\xef\xbb\xbfhttp_port = 8080\n")
    assert load_settings(path).http_port == 8080


def test_yaml_that_leads_back_into_itself_is_an_error_and_no_loop(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "cache: &a\n  max_bytes: *a\n", "settings.yml"))
    assert "must not contain themselves" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_bytes = 1", "did you mean cache.max_bytes or fetch.max_bytes?"),
        ("token = 1", "did you mean admin.token or metrics.token?"),
        ("cache.gallery = true", "did you mean pages.gallery?"),
    ],
)
def test_a_setting_in_the_wrong_table(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    "url",
    ["ftp://me:S3CRET@example.org/{name}", "nonsense://a/?key=S3CRET", "https://u:S3CRET@/{name}"],
)
def test_credentials_in_a_url_show_in_no_message(tmp_path: Path, url: str) -> None:
    message = refusal(written(tmp_path, f'[types.a]\nsource = "web"\nurl = "{url}"'))
    assert "types.a.url" in message
    assert "S3CRET" not in message
    broken = refusal(written(tmp_path, f'[types.a]\nsource = "web"\nurl = "{url}'))
    assert "S3CRET" not in broken
