"""Differences between Image API 2.1 and 3.0."""

import pytest

from iiif_server.iiif.versions import V2, V3, ImageApiVersion


@pytest.mark.parametrize(("version", "major"), [(V2, 2), (V3, 3)])
def test_a_version_names_its_own_context_and_compliance_level(
    version: ImageApiVersion, major: int
) -> None:
    assert version.context == f"http://iiif.io/api/image/{major}/context.json"
    assert version.compliance == f"http://iiif.io/api/image/{major}/level2.json"
    assert version.number.startswith(f"{major}.")
