"""Manifests and collections, parsed by other software."""

import json
from collections.abc import Mapping
from typing import Any

import iiif_prezi3

TYPE = 'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json"'


def parse_with_prezi(document: Mapping[str, Any]) -> Any:
    """Parse a document by iiif-prezi3, and assert that it writes the same document again.

    Its models are generated from the JSON schema of the IIIF consortium.
    """
    content = {name: value for name, value in document.items() if name != "@context"}
    model = getattr(iiif_prezi3, document["type"])(**content)
    assert json.loads(model.json()) == document
    return model
