"""Back-off after failed writes: longer pauses between attempts, rate-limited reports."""

import errno
import time
from collections.abc import Callable

_REPORT_AFTER = 60.0
"""Seconds before the same reason is reported again."""
_FIRST_PAUSE = 2.0
_MAX_PAUSE = 60.0
_THIS_FILE_ONLY = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EFBIG,
}


def concerns_all_writes(error: OSError) -> bool:
    """Whether other files probably cannot be written, either."""
    return error.errno not in _THIS_FILE_ONLY


class WriteBackoff:
    """Exponential back-off for a disk: counts failures and decides whether to try a call.

    After a failure, no call is tried for a pause; then one caller may try. If that fails, too, the
    next pause is twice as long, up to a minute. A success ends the back-off.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        report_end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._report_end = report_end
        self._clock = clock
        self._reported: dict[str, float] = {}
        self._last_reported: str | None = None
        self._pause = self._until = 0.0
        self.reason: str | None = None
        """Reason of the last failure; None after a success."""
        self.count = 0
        """Number of calls that failed, or were not tried because of the back-off."""

    def __repr__(self) -> str:
        return f"<WriteBackoff {self.count}, now: {self.reason}>"

    def refused(self, reason: str, *, pause: bool) -> None:
        """Count and perhaps report a failure; with `pause`, start the back-off."""
        self.count += 1
        self.reason = reason
        now = self._clock()
        if now >= self._reported.get(reason, now):
            self._reported[reason] = now + _REPORT_AFTER
            self._last_reported = reason
            self._report(reason)
        if pause and not self._pause:
            self._pause = _FIRST_PAUSE
            self._until = now + _FIRST_PAUSE

    def may_try(self) -> bool:
        """Whether the caller may try now; during a back-off, one caller may after each pause."""
        if not self._pause:
            return True
        now = self._clock()
        if now < self._until:
            self.count += 1
            return False
        self._until = now + self._pause
        self._pause = min(2 * self._pause, _MAX_PAUSE)
        return True

    def worked(self) -> None:
        """End the back-off after a success, and report the end of the failures."""
        self._pause = 0.0
        self.reason = None
        if self._last_reported is not None:
            reason, self._last_reported = self._last_reported, None
            self._report_end(reason)
