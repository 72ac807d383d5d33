"""Networks as a setting: a list in a file; in the environment JSON, or words between commas."""

import json
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from iiif_server.sources.addresses import Network


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [word.strip() for word in value.split(",") if word.strip()]


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_listed)]
