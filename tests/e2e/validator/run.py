"""Runs the tests of the official validator up to a level; exits with the number of failures."""

import sys

import shim  # noqa: F401 - first: it makes the validator importable
from iiif_validator.validator import ImageAPI, TestSuite, ValidationInfo


def main(server: str, prefix: str, identifier: str, version: str, level: int) -> int:
    suite = TestSuite(ValidationInfo())
    chosen = {name: row for name, row in suite.list_tests(version).items() if row["level"] <= level}
    failures = 0
    for name in sorted(chosen):
        result = ImageAPI(identifier, server, prefix, version=version, debug=False)
        problem = ""
        try:
            suite.run_test(name, result)
            problem = str(result.exception or "")
        except Exception as error:  # noqa: BLE001 - any exception is a failed test
            problem = repr(error)
        failures += bool(problem)
        sys.stdout.write(f"{'FAIL' if problem else 'PASS'} {name} {problem} {result.urls[-1:]}\n")
    sys.stdout.write(f"validator {version} level {level}: {len(chosen)} run, {failures} failed\n")
    return failures


if __name__ == "__main__":
    server, prefix, identifier, version, level = sys.argv[1:]
    sys.exit(main(server, prefix, identifier, version, int(level)))
