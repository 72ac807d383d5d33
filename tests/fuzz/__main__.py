"""Fuzz one target for some seconds, or try saved inputs again.

    python -m fuzz TARGET --seconds 60
    python -m fuzz TARGET tests/fuzz/failures/header-0123

Coverage-guided by atheris where it is installed, blind elsewhere. A failing input is saved in
`tests/fuzz/failures`, where the tests try it again.
"""

import contextlib
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import click

from fuzz.mutations import mutants

try:
    import atheris
except ImportError:  # no wheel for this platform or Python
    atheris = None

_INSTRUMENTED = ["iiif_server", "PIL", "zipfile"]

with atheris.instrument_imports(_INSTRUMENTED) if atheris else contextlib.nullcontext():
    from fuzz.targets import TARGETS, Target

FAILURES = Path(__file__).parent / "failures"
_LONGEST_INPUT = 65_536
_MAX_SECONDS_EACH = 10
_MAX_MEGABYTES = 1_500


@click.command()
@click.argument("name", type=click.Choice(list(TARGETS)))
@click.argument("inputs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=60)
@click.option("--blind", is_flag=True, help="Do without atheris.")
def main(name: str, inputs: tuple[Path, ...], seconds: int, *, blind: bool) -> None:
    """Fuzz a target, or try the given inputs."""
    target = TARGETS[name]
    if inputs:
        for path in inputs:
            click.echo(f"{path}")
            target.run(path.read_bytes())
    elif atheris is None or blind:
        _fuzz_blindly(target, seconds)
    else:
        _fuzz_guided(target, seconds)


def _fuzz_guided(target: Target, seconds: int) -> None:
    """Run libFuzzer, which ends the process."""
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(target.seeds()):
        (corpus / f"{number:04}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={_MAX_SECONDS_EACH}",
        f"-rss_limit_mb={_MAX_MEGABYTES}",
        f"-max_len={_LONGEST_INPUT}",
        f"-artifact_prefix={FAILURES}/{target.name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


def _fuzz_blindly(target: Target, seconds: int) -> None:
    """Run mutants until the time is over."""
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for data in mutants(target.seeds(), 100, time.time_ns()):
            tried += 1
            try:
                target.run(data)
            except Exception:
                path = FAILURES / f"{target.name}-{sha256(data).hexdigest()[:16]}"
                path.write_bytes(data)
                click.echo(f"{path} failed:", err=True)
                raise
    click.echo(f"{target.name}: {tried} inputs")


if __name__ == "__main__":
    main()
