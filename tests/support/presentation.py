"""Manifests and collections as others read them."""

import json
from collections.abc import Mapping
from typing import Any

import iiif_prezi3

TYPE = 'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json"'


def read_by_prezi(document: Mapping[str, Any]) -> Any:
    """The document as a model of iiif-prezi3, which has to say the same when it is written again.

    Its models are made of the IIIF consortium's own JSON schema.
    """
    content = {name: value for name, value in document.items() if name != "@context"}
    model = getattr(iiif_prezi3, document["type"])(**content)
    assert json.loads(model.json()) == document
    return model
