"""Answers of lookups: place, rights, limits and request headers of an original. Pure."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from iiif_server.iiif.geometry import Limits
from iiif_server.sources.access_options import Headers, checked_headers
from iiif_server.sources.rights import checked_rights
from iiif_server.sources.terms import Terms
from iiif_server.units import Seconds

PLACES = ("path", "url", "name")
_LIMITS = {"maxWidth": "max_width", "maxHeight": "max_height", "maxArea": "max_area"}
_TEXT = ConfigDict(str_strip_whitespace=False, frozen=True, hide_input_in_errors=True)


def _parsed(value: object) -> object:
    """Parse an object in JSON, as in a text column. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be an object in JSON") from None


class Answer(BaseModel):
    """Answer of a lookup for one name. Unknown members are ignored."""

    model_config = _TEXT

    path: Annotated[str, Field(min_length=1)] | None = None
    """Path of a file, absolute or below the folder of the type that serves it."""
    url: Annotated[str, Field(min_length=1)] | None = None
    """URL of the original: http, https, or that of an object."""
    name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the original within the type that serves it."""
    type: str | None = None
    """Type that serves it; None: the first type of the lookup."""
    rights: Annotated[str, AfterValidator(checked_rights)] | None = None
    max_width: PositiveInt | None = None
    max_height: PositiveInt | None = None
    max_area: PositiveInt | None = None
    headers: Annotated[Headers, AfterValidator(checked_headers)] = Field(default_factory=dict)
    """Request headers for fetching `url`."""
    cache_for: Seconds | None = None
    """Seconds for which this answer may be cached."""

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, raw: object) -> object:
        """Remove empty members, as tables have empty cells, and flatten the object `limits`."""
        if not isinstance(raw, Mapping):
            return raw
        found = {str(key): value for key, value in raw.items() if value not in (None, "")}
        limits = _parsed(found.pop("limits", {}))
        if not isinstance(limits, Mapping):
            raise ValueError("limits must be an object")  # noqa: TRY004 - pydantic's
        named = {_LIMITS.get(str(name), str(name)): value for name, value in limits.items()}
        if unknown := set(named) - set(_LIMITS.values()):
            raise ValueError(f"limits has {', '.join(sorted(unknown))}, which is no limit")
        return {**found, **named}

    @model_validator(mode="after")
    def _check(self) -> "Answer":
        places = [place for place in PLACES if getattr(self, place) is not None]
        if len(places) != 1:
            raise ValueError(
                f"has {' and '.join(places)}, of which one is needed"
                if places
                else f"has none of {', '.join(PLACES)}"
            )
        if self.max_height is not None and self.max_width is None:
            raise ValueError("max_height needs max_width as well")
        if self.headers and self.url is None:
            raise ValueError("headers are for a url")
        return self

    @property
    def terms(self) -> Terms:
        """Rights and limits of the original."""
        return Terms(self.rights, Limits(self.max_width, self.max_height, self.max_area))


def parse_answer(raw: object) -> Answer:
    """Parse an answer. Raises ValueError, without the values of the answer."""
    try:
        return Answer.model_validate(raw)
    except ValidationError as error:
        raise ValueError("; ".join(map(_text, error.errors()))) from None


def _text(error: Any) -> str:
    place = ".".join(map(str, error["loc"][:1]))
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
