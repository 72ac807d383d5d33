"""Security headers of responses."""

import pytest

from iiif_server.server.headers import common_fields

PUBLIC = ["application/json", "image/jpeg", "image/png", "application/pdf", "text/plain", ""]


def headers(media_type: str, *, administrative: bool = False) -> dict[str, str]:
    fields = common_fields(media_type, administrative=administrative)
    return {name.decode(): value.decode() for name, value in fields}


@pytest.mark.parametrize("media_type", [*PUBLIC, "text/html; charset=utf-8"])
@pytest.mark.parametrize("administrative", [False, True])
def test_nothing_is_taken_for_what_it_is_not_and_no_address_is_passed_on(
    media_type: str,
    administrative: bool,  # noqa: FBT001
) -> None:
    found = headers(media_type, administrative=administrative)
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("media_type", PUBLIC)
def test_images_and_information_are_for_all_origins(media_type: str) -> None:
    found = headers(media_type)
    assert found["access-control-allow-origin"] == "*"
    assert found["cross-origin-resource-policy"] == "cross-origin"
    assert "x-frame-options" not in found
    assert "cache-control" not in found


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/avif", "application/pdf"])
def test_nothing_in_an_image_is_run(media_type: str) -> None:
    policy = headers(media_type)["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in " ".join(policy)


def test_data_loads_nothing() -> None:
    assert headers("application/json")["content-security-policy"] == "default-src 'none'"


def test_pages_are_for_one_origin_and_in_no_frame() -> None:
    found = headers("text/html; charset=utf-8")
    assert "access-control-allow-origin" not in found
    assert found["cross-origin-resource-policy"] == "same-origin"
    assert found["x-frame-options"] == "DENY"
    policy = found["content-security-policy"].split("; ")
    for part in (
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ):
        assert part in policy


@pytest.mark.parametrize("media_type", ["application/json", "text/html", "image/jpeg", ""])
def test_administrative_answers_are_for_one_origin_and_kept_nowhere(media_type: str) -> None:
    found = headers(media_type, administrative=True)
    assert not [name for name in found if name.startswith("access-control")]
    assert "timing-allow-origin" not in found
    assert found["cross-origin-resource-policy"] == "same-origin"
    assert found["cache-control"] == "no-store"


def test_an_answer_without_content_leaves_the_policy_that_the_client_has() -> None:
    assert "content-security-policy" not in headers("")
