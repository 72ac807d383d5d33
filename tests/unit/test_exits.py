"""Exit codes in words."""

import signal

import pytest

from iiif_server.exits import exit_in_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "ended by SIGSEGV"),
        (-signal.SIGTERM, "ended by SIGTERM"),
        (
            -signal.SIGKILL,
            "ended by SIGKILL (not by this server: the kernel does it when memory runs out)",
        ),
        (-999, "ended by signal 999"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert exit_in_words(code) == words
