"""The base of all models of settings, and field types that several of them use."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)


@dataclass(frozen=True, slots=True)
class Expects:
    """The values that a setting accepts, for messages: "must be ..."."""

    expected: str


class NotAcceptedError(ValueError):
    """A value that the setting does not accept; the message is made from `Expects`."""


class ConflictError(ValueError):
    """Settings that are valid by themselves and not together."""

    def __init__(self, conflicts: Sequence[tuple[tuple[str, ...], str]]) -> None:
        """`conflicts` are paths of settings, and the problem of each."""
        super().__init__("; ".join(text for _, text in conflicts))
        self.conflicts = conflicts


class OptionsModel(BaseModel):
    """Settings of one component: unknown names are rejected, values never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret
    )

    @field_validator("*", mode="before")
    @classmethod
    def _check_numbers(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `true` as the number 1."""
        if isinstance(value, bool):
            annotation = cls.model_fields[str(info.field_name)].annotation
            accepted = {annotation, *get_args(annotation)}
            if bool not in accepted and Any not in accepted:
                raise NotAcceptedError
        return value


def listed(value: object) -> object:
    """A list unchanged, or one from text: JSON, or items between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a list; this is not valid JSON") from None
    return [word.strip() for word in value.split(",") if word.strip()]


Listed = BeforeValidator(listed)
"""Lets a list be written as text in the environment."""


def _folder(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError(f"must be {_FOLDER.expected}")
    return value


_FOLDER = Expects("the path of a folder")
FolderPath = Annotated[Path, BeforeValidator(_folder), _FOLDER]


def path_list(value: object) -> object:
    """A list of folders from the path of one, or from a list as JSON; a list unchanged."""
    if not isinstance(value, str | Path):
        return value
    return listed(value) if str(value).startswith("[") else [value]


FolderPaths = Annotated[
    tuple[FolderPath, ...],
    BeforeValidator(path_list),
    Expects("the path of a folder, or a list of them"),
]
"""Folders as a setting: one path, or a list."""


def _url_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path, re.ASCII) or {".", ".."} & {
        *path.split("/")
    }:
        raise ValueError(f"must be {_URL_PATH.expected}")
    return path


_URL_PATH = Expects(
    'a path such as "/images": a slash, then letters, digits and the characters . _ ~ -, '
    "and no slash at the end"
)
UrlPath = Annotated[str, AfterValidator(_url_path), _URL_PATH]
"""The path of a URL without percent-encoding; empty, or with a slash in front and none behind."""
