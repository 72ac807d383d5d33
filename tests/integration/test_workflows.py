"""The workflows of GitHub run what the project promises, with no more rights than they need."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def _jobs(path: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


def test_every_python_that_the_project_declares_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    declared = {
        text.removeprefix(prefix) for text in project["classifiers"] if text.startswith(prefix)
    }
    matrix = _jobs(ROOT / ".github/workflows/tests.yml")["test"]["strategy"]["matrix"]
    assert set(matrix["python"]) == declared
    systems = {item["system"] for item in matrix["include"]}
    assert any("arm" in system for system in systems)
    assert any("macos" in system for system in systems)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_of_others_are_pinned_to_a_commit_with_its_version_beside(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for reference in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", reference), reference


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_only_jobs_that_publish_may_write(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for name, job in _jobs(path).items():
        publishes = name.startswith("publish") or name == "release"
        assert ("write" in str(job.get("permissions", {}))) == publishes, name
        if publishes:
            assert "actions/checkout" not in str(job)  # no code of the branch has these rights
