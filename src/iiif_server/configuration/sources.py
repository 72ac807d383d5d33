"""A source for pydantic-settings with the content that `loading` has read."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

AnySettings = TypeVar("AnySettings", bound=BaseSettings)

_content: ContextVar[Mapping[str, Any] | None] = ContextVar("content", default=None)


class ContentSource(PydanticBaseSettingsSource):
    """A source of settings: the content that `build` was given; elsewhere it is empty.

    The content comes from the settings file, secret files, credentials and environment variables.
    The stock sources for these are not used: they raise at the first value or file that they cannot
    decode, ignore variables with unknown names, and know neither the lines of a file nor which
    variable a value is from. All problems are reported at once, with these places.
    """

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002 - the signature of all sources
        field_name: str,
    ) -> tuple[Any, str, bool]:
        """The value of a setting, its name, and that it needs no decoding."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, with those of unknown names, which validation reports."""
        return dict(_content.get() or {})


def build(root: type[AnySettings], content: Mapping[str, Any]) -> AnySettings:
    """Settings with these values; raises ValidationError.

    `root.model_validate(content)` would take names such as `_env_file` as arguments of BaseSettings
    and report nothing.
    """
    token = _content.set(content)
    try:
        return root()
    finally:
        _content.reset(token)
