"""Exit codes of processes as text for the log."""

import signal


def exit_in_words(code: int) -> str:
    """Return the reason why a process ended; a negative exit code is the number of a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = " (not by this server: the kernel does it when memory runs out)"
    return f"ended by {name}{memory if -code == signal.SIGKILL else ''}"
