"""Back-off for writes that the disk refuses: reported now and then, tried ever more rarely."""

import errno
import time
from collections.abc import Callable

_REPORT_AFTER = 60.0
"""Seconds for which the same reason is not reported again."""
_FIRST_REST = 2.0
_LONGEST_REST = 60.0
_THIS_FILE_ONLY = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EFBIG,
}


def concerns_all_writes(error: OSError) -> bool:
    """Whether an error says that other files cannot be written either."""
    return error.errno not in _THIS_FILE_ONLY


class WriteBackoff:
    """How often the disk refused, why, and whether it is to be tried.

    After a refusal comes a rest, in which nothing is tried; then one caller may try. If that is
    refused too, the next rest is twice as long. What works ends it all.
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
        self._rest = self._until = 0.0
        self.reason: str | None = None
        """Why the last try was refused; None if it was not."""
        self.count = 0
        """How often something was refused, or not tried because of that."""

    def __repr__(self) -> str:
        return f"<WriteBackoff {self.count}, now: {self.reason}>"

    def refused(self, reason: str, *, rest: bool) -> None:
        """Count and perhaps report a refusal; `rest` if trying again costs something or other."""
        self.count += 1
        self.reason = reason
        now = self._clock()
        if now >= self._reported.get(reason, now):
            self._reported[reason] = now + _REPORT_AFTER
            self._last_reported = reason
            self._report(reason)
        if rest and not self._rest:
            self._rest = _FIRST_REST
            self._until = now + _FIRST_REST

    def may_try(self) -> bool:
        """Whether the caller may try; while nothing works, one may after each rest."""
        if not self._rest:
            return True
        now = self._clock()
        if now < self._until:
            self.count += 1
            return False
        self._until = now + self._rest
        self._rest = min(2 * self._rest, _LONGEST_REST)
        return True

    def worked(self) -> None:
        """Forget the trouble: something was kept."""
        self._rest = 0.0
        self.reason = None
        if self._last_reported is not None:
            reason, self._last_reported = self._last_reported, None
            self._report_end(reason)
