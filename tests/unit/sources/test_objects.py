"""Settings of `objects` types, and errors of object stores."""

from typing import Any

import pytest
from obstore import exceptions
from pydantic import ValidationError

from iiif_server.errors import (
    OriginalChangedError,
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
)
from iiif_server.object_stores.client import problem_of
from iiif_server.sources.object_upstream import error_of
from iiif_server.sources.objects import ObjectsOptions


def options(**settings: Any) -> ObjectsOptions:
    return ObjectsOptions(**{"source": "objects", "url": "s3://bucket/{name}.tif", **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "https://bucket/{name}"},
        {"url": "bucket/{name}"},
        {"url": "s3:///{name}"},
        {"url": "s3://{name}/a.tif"},
        {"url": "s3://bucket-{name}/{name}"},
        {"url": "s3://user:secret@bucket/{name}"},
        {"url": "s3://bucket/a.tif"},
        {"url": "s3://bucket"},
        {"url": "s3://bucket/{nam}"},
        {"url": "s3://bucket/../{name}"},
        {"endpoint": "minio.example.org"},
        {"endpoint": "https://user:secret@minio.example.org"},
        {"endpoint": "file:///etc/passwd"},
        {"access_key_id": "a"},
        {"secret_access_key": "a"},
        {"url": "gs://bucket/{name}", "region": "x"},
        {"url": "az://bucket/{name}", "profile": "x"},
        {"account": "x"},
        {"ranges": "sometimes"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        options(**settings)


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({}, {}),
        ({"endpoint": "http://h:1", "region": "r"}, {"endpoint": "http://h:1", "region": "r"}),
        ({"url": "gs://b/{name}", "endpoint": "https://h"}, {"base_url": "https://h"}),
        ({"url": "az://b/{name}", "account": "a"}, {"account_name": "a"}),
        ({"anonymous": True}, {"skip_signature": True}),
    ],
    ids=str,
)
def test_settings_become_those_of_obstore(settings: Any, config: dict[str, Any]) -> None:
    found = options(**settings)
    assert found.config(found.url.partition(":")[0]) == config


def test_the_secret_is_not_shown() -> None:
    assert "hidden" not in repr(options(access_key_id="a", secret_access_key="hidden"))  # noqa: S106


def answer(status: int, code: str) -> str:
    return (
        f"Error performing GET http://secret-host/secret-bucket/key in 1ms - Server returned "
        f"non-2xx status code: {status} X: "
        f"<Error><Code>{code}</Code><Key>secret-key</Key></Error>\n\nDebug source: secret"
    )


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (FileNotFoundError(answer(404, "NoSuchKey")), OriginalNotFoundError, "404 NoSuchKey"),
        (FileNotFoundError(answer(404, "NoSuchBucket")), SourceUnavailableError, "correct url"),
        (FileNotFoundError(answer(404, "ContainerNotFound")), SourceUnavailableError, "account"),
        (exceptions.PreconditionError(answer(412, "X")), OriginalChangedError, "412"),
        (
            exceptions.PermissionDeniedError(answer(403, "AccessDenied")),
            SourceUnavailableError,
            "s3",
        ),
        (exceptions.GenericError(answer(400, "ExpiredToken")), SourceUnavailableError, "renew"),
        (exceptions.GenericError(answer(503, "SlowDown")), SourceUnavailableError, "503 SlowDown"),
        (exceptions.GenericError("a\nkind: Timeout"), SourceTimedOutError, "GenericError"),
        (ValueError("Could not parse path"), OriginalNotFoundError, ""),
    ],
)
def test_answers_of_stores(error: Exception, expected: type[Exception], told: str) -> None:
    found, problem = error_of(error), repr(problem_of(error))
    assert type(found) is expected
    assert told in problem
    assert "secret" not in str(found)
    assert "secret-" not in problem
