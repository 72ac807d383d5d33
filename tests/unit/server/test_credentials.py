"""Token of the admin API."""

import pytest
from pydantic import SecretStr, ValidationError

from iiif_server.server.credentials import AdminOptions, Credentials

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (TOKEN, True),
        ("", False),
        (TOKEN[:-1], False),
        (TOKEN + "0", False),
        (TOKEN.upper(), False),
        (f" {TOKEN}", False),
        ("\udcff" * 16, False),
        ("ü" * 16, False),
    ],
)
def test_only_the_token_matches(given: str, right: bool) -> None:  # noqa: FBT001
    assert Credentials(SecretStr(TOKEN)).match(given) is right


@pytest.mark.parametrize("token", ["", "short", "0123456789abcde", "a token of words", "ü" * 20])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AdminOptions.model_validate({"token": token})
    assert "at least 16 characters" in str(refused.value)
    assert not token or token not in str(refused.value)


def test_the_token_shows_nowhere() -> None:
    options = AdminOptions(token=SecretStr(TOKEN))
    for shown in (
        repr(options),
        str(options),
        str(options.model_dump()),
        options.model_dump_json(),
        repr(Credentials(SecretStr(TOKEN))),
    ):
        assert TOKEN not in shown
