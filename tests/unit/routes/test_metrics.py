"""Access to `/metrics`."""

from ipaddress import IPv4Network

import pytest
from pydantic import SecretStr, ValidationError

from iiif_server.routes.metrics import MetricsOptions, is_near, scraping

NEAR = (IPv4Network("10.0.0.0/8"),)
TOKEN = "a-token-of-these-tests"
ADMIN = SecretStr("the-token-of-those-who-run-it")


@pytest.mark.parametrize(
    ("peer", "headers", "answer"),
    [
        ("10.1.2.3", ["host", "user-agent"], True),
        ("::ffff:10.1.2.3", ["host"], True),
        ("192.0.2.1", ["host"], False),
        ("", ["host"], False),
        ("10.1.2.3", ["host", "x-forwarded-for"], False),
        ("10.1.2.3", ["host", "x-forwarded-proto"], False),
        ("10.1.2.3", ["host", "x-forwarded-anything"], False),
        ("10.1.2.3", ["forwarded"], False),
        ("10.1.2.3", ["via"], False),
        ("10.1.2.3", ["x-real-ip"], False),
    ],
)
def test_only_what_comes_straight_from_a_network_is_from_there(
    *, peer: str, headers: list[str], answer: bool
) -> None:
    assert is_near(peer, headers, NEAR) is answer


def test_nobody_is_near_where_no_network_is_named() -> None:
    assert not is_near("127.0.0.1", ["host"], ())


def test_there_are_no_numbers_unless_somebody_may_read_them() -> None:
    assert not scraping(MetricsOptions(), None).possible
    assert scraping(MetricsOptions(), ADMIN).possible
    assert scraping(MetricsOptions(token=SecretStr(TOKEN)), None).possible
    assert scraping(MetricsOptions(allow_networks=NEAR), None).possible
    assert not scraping(MetricsOptions(enabled=False, allow_networks=NEAR), ADMIN).possible


def test_a_short_token_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        MetricsOptions(token=SecretStr("short-one"))
    assert "16 characters" in str(refused.value)
    assert "short-one" not in str(refused.value)
