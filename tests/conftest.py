"""Hooks of all tests."""

import os

import pytest

from iiif_server.codecs import jpegtran, libturbojpeg, turbojpeg
from iiif_server.plan.jobs import TURBOJPEG_AUTO

libturbojpeg.use(os.environ.get("IIIF_WORKERS__TURBOJPEG", TURBOJPEG_AUTO))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of a library that is not installed."""
    if item.get_closest_marker("needs_lossless") and not jpegtran.available():
        pytest.skip("needs libturbojpeg: none is installed, or it is switched off")
    if item.get_closest_marker("needs_partial_decoding") and not turbojpeg.available():
        pytest.skip("needs libturbojpeg 3.0 or later")
