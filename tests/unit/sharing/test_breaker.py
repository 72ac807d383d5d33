"""The circuit breaker."""

from iiif_server.sharing.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_and_tries_one_call_after_a_rest() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=2, rest=10, clock=clock)
    assert breaker.allows()
    assert not breaker.failed()
    assert not breaker.worked()
    assert not breaker.failed()
    assert breaker.state == "closed"
    assert breaker.failed()
    assert (breaker.state, breaker.allows()) == ("open", False)
    clock.now = 10
    assert (breaker.state, breaker.allows()) == ("half-open", True)
    assert (breaker.state, breaker.allows()) == ("open", False), "one call decides"
    assert not breaker.failed()
    clock.now = 20
    assert breaker.allows()
    assert breaker.worked()
    assert (breaker.state, breaker.allows()) == ("closed", True)
