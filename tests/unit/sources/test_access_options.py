"""Settings of HTTP access: sent credentials, rejected values, hidden secrets."""

from typing import Any

import pytest
from pydantic import ValidationError

from iiif_server.sources.access import without_secrets
from iiif_server.sources.access_options import access_of
from iiif_server.sources.web import WebOptions

WEB = {"source": "web", "url": "https://example.org/{name}"}
SECRET = "s3cret"


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {}),
        ({"bearer_token": SECRET}, {"Authorization": "Bearer s3cret"}),
        ({"username": "a", "password": "b:c"}, {"Authorization": "Basic YTpiOmM="}),
        ({"username": "\xe9", "password": ""}, {"Authorization": "Basic w6k6"}),
        ({"headers": {"X-Key": SECRET}}, {"X-Key": SECRET}),
        ({"headers": f"X-Key: {SECRET}\n\nB:c: d\n"}, {"X-Key": SECRET, "B": "c: d"}),
        ({"headers": '{"X-Key": "a b"}'}, {"X-Key": "a b"}),
        (
            {"headers": {"X-Key": "1"}, "bearer_token": "2"},
            {"X-Key": "1", "Authorization": "Bearer 2"},
        ),
    ],
)
def test_header_fields_are_made_of_the_settings(options: Any, sent: dict[str, str]) -> None:
    access = access_of(WebOptions.model_validate({**WEB, **options}))
    assert dict(access.headers) == sent


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"headers": {"X Key": SECRET}}, "letters, digits"),
        ({"headers": {"": SECRET}}, "letters, digits"),
        ({"headers": {"Host": SECRET}}, "set by the server"),
        ({"headers": {"transfer-encoding": SECRET}}, "set by the server"),
        ({"headers": {"A": SECRET, "a": SECRET}}, "given twice"),
        ({"headers": {"A": f"{SECRET}\r\nB: c"}}, "printable ASCII"),
        ({"headers": {"A": f"{SECRET} "}}, "printable ASCII"),
        ({"headers": {"A": f"{SECRET}\xe9"}}, "printable ASCII"),
        ({"headers": {"A": ""}}, "printable ASCII"),
        ({"headers": f"{SECRET}"}, "lines"),
        ({"headers": f"{{{SECRET}"}, "JSON"),
        ({"bearer_token": f"{SECRET}\n"}, "printable ASCII"),
        ({"bearer_token": SECRET, "username": "a", "password": "b"}, "exclude"),
        ({"headers": {"authorization": SECRET}, "bearer_token": SECRET}, "exclude"),
        ({"username": "a"}, "each other"),
        ({"password": SECRET}, "each other"),
        ({"username": "a:b", "password": SECRET}, "colon"),
        ({"client_key": "/k"}, "client_certificate"),
        ({"proxy_resolves": True}, "needs proxy"),
        ({"proxy": "socks5://proxy:1080"}, "must be a URL"),
        ({"proxy": f"{SECRET}"}, "must be a URL"),
        ({"proxy": f"http://proxy:3128/{SECRET}"}, "must be a URL"),
        ({"proxy": "http://proxy:x"}, "must be a URL"),
        ({"url": "https://u@example.org/{name}", "bearer_token": SECRET}, "user name"),
    ],
)
def test_what_cannot_be_sent_is_refused_without_its_value(options: Any, word: str) -> None:
    with pytest.raises(ValidationError, match=word) as refusal:
        WebOptions.model_validate({**WEB, **options})
    assert SECRET not in str(refusal.value)


def test_secrets_are_not_shown() -> None:
    options = WebOptions.model_validate(
        {
            **WEB,
            "headers": {"X-Key": SECRET},
            "username": "u",
            "password": SECRET,
            "proxy": f"http://u:{SECRET}@proxy",
        }
    )
    assert SECRET not in f"{options!r} {options.model_dump_json()} {access_of(options)!r}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:8/a/b.jpg?k=v&x&y=#f", "https://h:8/a/b.jpg?k=...&...&y=..."),
        ("https://h/a", "https://h/a"),
        ("https://u:p@@h/a?a=b=c", "https://h/a?a=..."),
        ("http://[::1", "an invalid URL"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
