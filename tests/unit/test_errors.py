"""What a refusal says to the person who made the request."""

import pytest

from iiif_server.errors import IiifServerError, MalformedParameterError, RequestRefusedError


def test_a_malformed_parameter_names_itself_what_was_sent_and_what_would_work() -> None:
    error = MalformedParameterError("size", "0,", "w, in whole pixels above zero")
    assert str(error) == 'Invalid size "0,": expected w, in whole pixels above zero.'
    assert error.parameter == "size"


def test_a_malformed_parameter_is_a_refusal_of_the_request() -> None:
    assert issubclass(MalformedParameterError, RequestRefusedError)
    assert issubclass(RequestRefusedError, IiifServerError)


@pytest.mark.parametrize("sent", ["a\nb", "a\rb", "a\u2028b", "a\x1b[31mb", "a\x00b", "a\ud800b"])
def test_what_was_sent_is_shown_on_one_line_that_can_be_printed(sent: str) -> None:
    message = str(MalformedParameterError("region", sent, "full"))
    assert message.isprintable()
    message.encode("utf-8")


def test_what_was_sent_is_shown_no_longer_than_a_person_would_read() -> None:
    message = str(MalformedParameterError("region", "9" * 5000, "full"))
    assert len(message) < 200
    assert "…" in message
