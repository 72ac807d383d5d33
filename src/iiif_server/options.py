"""Base class of all models of settings, and field types that several models use."""

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
    """Accepted values of a setting as text, for messages: "must be ..."."""

    expected: str


class NotAcceptedError(ValueError):
    """The setting does not accept the value; the message comes from `Expects`."""


class ConflictError(ValueError):
    """Settings contradict each other, although each is valid."""

    def __init__(self, conflicts: Sequence[tuple[tuple[str, ...], str]]) -> None:
        """`conflicts` has pairs: the path of a setting, and its problem as text."""
        super().__init__("; ".join(text for _, text in conflicts))
        self.conflicts = conflicts


class OptionsModel(BaseModel):
    """Base model of the settings of one component: immutable, rejects unknown names."""

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
        """Reject `true` and `false` for numbers, which pydantic would read as 1 and 0."""
        if isinstance(value, bool):
            annotation = cls.model_fields[str(info.field_name)].annotation
            accepted = {annotation, *get_args(annotation)}
            if bool not in accepted and Any not in accepted:
                raise NotAcceptedError
        return value


def listed(value: object) -> object:
    """Parse a list from text, as JSON or with commas; return any other value unchanged.

    Raises ValueError for text that begins with `[` and is not valid JSON.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a list; this is not valid JSON") from None
    return [word.strip() for word in value.split(",") if word.strip()]


Listed = BeforeValidator(listed)
"""Validator that parses lists in environment variables."""


def _folder(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError(f"must be {_FOLDER.expected}")
    return value


_FOLDER = Expects("the path of a folder")
FolderPath = Annotated[Path, BeforeValidator(_folder), _FOLDER]


def path_list(value: object) -> object:
    """Return a list of folders: from one path, or from a JSON list; a list is unchanged."""
    if not isinstance(value, str | Path):
        return value
    return listed(value) if str(value).startswith("[") else [value]


FolderPaths = Annotated[
    tuple[FolderPath, ...],
    BeforeValidator(path_list),
    Expects("the path of a folder, or a list of them"),
]
"""Field type of folders: one path, or a list of paths."""


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
"""Field type of URL paths: empty, or with a leading and without a trailing slash."""
