"""Fuzz targets for seconds (`make fuzz` runs minutes), and every input that has failed."""

from pathlib import Path

import pytest

from fuzz.mutations import mutants
from fuzz.targets import TARGETS, Target

FAILURES = sorted(Path(__file__).parent.joinpath("failures").glob("*-*"))
EXAMPLES = {"request": 1500, "header": 1500, "pixels": 400, "credits": 1500, "pyramid": 1500}


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: path.name)
def test_input_that_failed_before_passes(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]].run(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_seeds_of_each_target_pass(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        target.run(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_mutants_of_each_target_pass(target: Target) -> None:
    for data in mutants(target.seeds(), EXAMPLES[target.name], seed=1):
        target.run(data)
