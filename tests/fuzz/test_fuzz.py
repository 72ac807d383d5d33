"""What `make fuzz` does for minutes, for seconds; and every input that ever failed, again."""

from pathlib import Path

import pytest

from fuzz.mutations import mutants
from fuzz.targets import TARGETS, Target

FAILURES = sorted(Path(__file__).parent.joinpath("failures").glob("*-*"))
EXAMPLES = {"request": 1500, "header": 1500, "pixels": 400, "credits": 1500, "pyramid": 1500}


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: path.name)
def test_what_failed_once_does_not_again(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]].run(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_good_inputs_are_fine(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.run(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_whatever_comes_keeps_the_promise(target: Target) -> None:
    for data in mutants(target.seeds(), EXAMPLES[target.name], seed=1):
        target.run(data)
