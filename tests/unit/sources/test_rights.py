"""Values of the setting `rights`."""

import pytest

from iiif_server.sources.rights import checked_rights

CC = "https://creativecommons.org"


@pytest.mark.parametrize(
    "text",
    [
        f"{CC}/licenses/by/4.0/",
        "http://creativecommons.org/licenses/by-nc-sa/3.0/de/",
        f"{CC}/publicdomain/zero/1.0/",
        "http://rightsstatements.org/vocab/InC-OW-EU/1.0/",
        "https://www.example.org/our-terms",
        "urn:free",
    ],
)
def test_uris_are_accepted(text: str) -> None:
    assert checked_rights(text) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("CC-BY", f"{CC}/licenses/by/4.0/"),
        ("CC BY-SA 3.0", f"{CC}/licenses/by-sa/3.0/"),
        ("cc-by-sa-nc", None),
        ("CC-BY-NC-ND-4.0", f"{CC}/licenses/by-nc-nd/4.0/"),
        ("CC0", f"{CC}/publicdomain/zero/1.0/"),
        ("Public Domain", f"{CC}/publicdomain/mark/1.0/"),
        ("InC", "http://rightsstatements.org/vocab/InC/1.0/"),
        ("https://rightsstatements.org/page/noc-us/1.0/", "/vocab/NoC-US/1.0/"),
        ("creativecommons.org/licenses/by/4.0/", f"{CC}/licenses/by/4.0/"),
        (f"{CC}/licenses/by-na/4.0/", None),
        ("All rights reserved", None),
        ("", None),
        ("https://example.org/a b", None),
    ],
)
def test_anything_else_is_refused_with_what_was_meant(text: str, meant: str | None) -> None:
    with pytest.raises(ValueError, match=r"^must be the URI of a licence") as refused:
        checked_rights(text)
    if meant:
        assert f"{meant}?" in str(refused.value)
