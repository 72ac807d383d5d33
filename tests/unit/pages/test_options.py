"""Settings of the web pages."""

import pytest
from pydantic import ValidationError

from iiif_server.pages.options import PagesOptions


@pytest.mark.parametrize(
    ("written", "sources"),
    [
        ([], ()),
        (["self"], ("'self'",)),
        (["'self'"], ("'self'",)),
        ("*", ("*",)),
        ("https://www.example.org", ("https://www.example.org",)),
        (["https://www.Example.org/"], ("https://www.example.org",)),
        (["https://*.example.org"], ("https://*.example.org",)),
        (["http://localhost:8080", "self"], ("http://localhost:8080", "'self'")),
        (["http://127.0.0.1:*"], ("http://127.0.0.1:*",)),
    ],
)
def test_frame_ancestors_become_the_sources_of_a_policy(
    written: object, sources: tuple[str, ...]
) -> None:
    options = PagesOptions.model_validate({"frame_ancestors": written})
    assert options.frame_sources == sources


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "none", "'none'", "example.org", "//example.org", "https:", "https://"),
        *("https://example.org/path", "https://example.org?x", "ftp://example.org", "data:"),
        *("javascript:alert(1)", "https://a b", "https://a;script-src *", "https://a,https://b"),
        *("*; script-src *", "self *", "https://a\r\nSet-Cookie: x", "https://\u00e4.example"),
        *("https://user@example.org", "https://a.*.example", "https://*", "https://a:port"),
        *("https://-a", "https://a.", "https://[::1]", "'unsafe-inline'", "https://a:123456"),
    ],
)
def test_what_is_no_origin_is_refused_with_what_would_be_one(text: str) -> None:
    for value in (text, [text], ["self", text]):
        with pytest.raises(ValidationError) as refused:
            PagesOptions.model_validate({"frame_ancestors": value})
        (error,) = refused.value.errors()
        assert 'each must be "self", "*" or an origin without a path' in error["msg"]


def test_more_than_texts_are_no_origins() -> None:
    for value in (5, [None], {"a": 1}, [["self"]]):
        with pytest.raises(ValidationError):
            PagesOptions.model_validate({"frame_ancestors": value})
