"""Circuit breaker: closed, open, half-open."""

from iiif_server.sharing.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_and_tries_one_call_after_a_rest() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=2, open_seconds=10, clock=clock)
    assert breaker.allows()
    assert not breaker.record_failure()
    assert not breaker.record_success()
    assert not breaker.record_failure()
    assert breaker.state == "closed"
    assert breaker.record_failure()
    assert (breaker.state, breaker.allows()) == ("open", False)
    clock.now = 10
    assert (breaker.state, breaker.allows()) == ("half-open", True)
    assert (breaker.state, breaker.allows()) == ("open", False), "one call decides"
    assert not breaker.record_failure()
    clock.now = 20
    assert breaker.allows()
    assert breaker.record_success()
    assert (breaker.state, breaker.allows()) == ("closed", True)
