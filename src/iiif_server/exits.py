"""Exit codes of processes, in words for the log."""

import signal


def exit_in_words(code: int) -> str:
    """The cause of a process's end; a negative exit code is the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = " (not by this server: the kernel does it when memory runs out)"
    return f"ended by {name}{memory if -code == signal.SIGKILL else ''}"
