"""Source for pydantic-settings with the content from `loading`."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

AnySettings = TypeVar("AnySettings", bound=BaseSettings)

_content: ContextVar[Mapping[str, Any] | None] = ContextVar("content", default=None)


class ContentSource(PydanticBaseSettingsSource):
    """Source of settings with the content that `build` received; empty outside of `build`.

    The content comes from the settings file, secret files, credentials and environment variables.
    The sources of pydantic-settings cannot report all problems at once. They raise at the first
    value that they cannot decode, ignore variables with unknown names, and know neither line
    numbers nor the variable of a value.
    """

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002 - signature of pydantic-settings
        field_name: str,
    ) -> tuple[Any, str, bool]:
        """Return the value of a setting, its name, and False: it needs no decoding."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values, also those with unknown names, which validation reports."""
        return dict(_content.get() or {})


def build(root: type[AnySettings], content: Mapping[str, Any]) -> AnySettings:
    """Build settings with these values; raises ValidationError.

    `root.model_validate(content)` would read names such as `_env_file` as arguments of BaseSettings
    and not report them.
    """
    token = _content.set(content)
    try:
        return root()
    finally:
        _content.reset(token)
