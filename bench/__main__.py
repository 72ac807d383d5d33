"""`python -m bench [--quick]`: measures, prints the results, and writes the page."""

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from bench import servers, workloads
from bench.images import make_images
from bench.report import Findings, format_checks, write_findings, write_report

_ROOT = Path(__file__).parents[1]
_SIZES = (2, 24, 108, 320)
_QUICK_SIZES = (2, 24)


def main() -> int:
    """Run all workloads; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="2 and 24 megapixels only, to try the harness"
    )
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "bench")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended
    build: Path = arguments.build.resolve()
    source, work = build / "source", build / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    images = make_images(source / "bench", _QUICK_SIZES if arguments.quick else _SIZES)
    bench = workloads.Bench(images, source, work)
    started = time.monotonic()
    try:
        workloads.run(bench)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for image in images.values():
            for copy in image.jpeg.parent.glob(f"{image.jpeg.stem}-*.jpg"):
                copy.unlink()
    findings = Findings(
        bench.checks,
        bench.tables,
        bench.growth,
        bench.throughput,
        bench.latency,
        servers.peer_versions(),
        (time.monotonic() - started) / 60,
    )
    print("\n".join(format_checks(findings.checks)))
    write_findings(findings, build / "findings.json")
    docs = build if arguments.quick else _ROOT / "docs"
    write_report(findings, docs)
    print(f"Written: {docs / 'benchmarks.md'}")
    return int(not all(check.passed for check in findings.checks))


if __name__ == "__main__":
    sys.exit(main())
