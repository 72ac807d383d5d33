"""Results as a page and two charts."""

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Check:
    """Measured ratio and its target."""

    what: str
    measured: float
    target: float
    detail: str
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the ratio meets the target, to the digits that are shown."""
        measured = round(self.measured, 3)
        return measured >= self.target if self.at_least else measured <= self.target


@dataclass(frozen=True, slots=True)
class Table:
    """Table of numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Curve:
    """Line of a chart."""

    label: str
    points: Sequence[tuple[float, float]]
    peer: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """Results of one run."""

    checks: Sequence[Check]
    tables: Sequence[Table]
    growth: Sequence[Curve]
    throughput: Sequence[Curve]
    latency: Sequence[Curve]
    versions: Mapping[str, str]
    minutes: float


def write_report(findings: Findings, docs: Path) -> None:
    """Write docs/benchmarks.md and its charts."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    _draw(
        [("milliseconds", findings.growth)],
        "megapixels of the original",
        images / "bench-size.png",
    )
    _draw(
        [("requests a second", findings.throughput), ("median milliseconds", findings.latency)],
        "connections",
        images / "bench-concurrency.png",
    )
    (docs / "benchmarks.md").write_text(_page(findings))


def write_findings(findings: Findings, path: Path) -> None:
    """Write the results as JSON."""
    path.write_text(json.dumps(asdict(findings), indent=1))


def format_checks(checks: Sequence[Check]) -> list[str]:
    """Return the checks as lines for a terminal."""
    return [
        f"{'pass' if check.passed else 'FAIL'}  {check.measured:8.3f}  "
        f"({'>=' if check.at_least else '<='} {check.target:g})  {check.what}  {check.detail}"
        for check in checks
    ]


def _page(findings: Findings) -> str:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    missed = sum(not check.passed for check in findings.checks)
    verdict = f"{missed} of {len(findings.checks)} are missed" if missed else "All are met"
    parts = [
        "# Benchmarks",
        _HEAD,
        f"{today}; {_machine()}; {findings.minutes:.0f} minutes.",
        _markdown(["", "version"], [[*pair] for pair in findings.versions.items()]),
        "## Targets",
        f"{verdict}.",
        _markdown(
            ["workload", "ratio", "target", "", "measured"],
            [
                [
                    check.what,
                    f"{check.measured:.3g}",
                    f"{'≥' if check.at_least else '≤'} {check.target:g}",
                    "pass" if check.passed else "**fail**",
                    check.detail,
                ]
                for check in findings.checks
            ],
        ),
        "## Growth",
        "Time against the size of the original. Dashed: others.",
        "![Time against the size of the original](images/bench-size.png)",
        _REPEATED,
        "![Tiles against the number of connections](images/bench-concurrency.png)",
        "## Numbers",
        *(
            block
            for table in findings.tables
            for block in (f"### {table.title}", _markdown(table.heads, table.rows))
        ),
        _METHOD,
    ]
    return "\n\n".join(parts) + "\n"


_HEAD = """\
Written by `make bench`; do not edit. Everything was measured in one run on one machine, on the
same images; times drift from machine to machine, the ratios are the point."""
_REPEATED = """\
512 px tiles of one large image against the number of connections. Tiles are repeated here, so
iipimage-server may answer some from its memory."""
_METHOD = """\
## How it is measured

- **Images**: generated, the same each time: clouds of five octaves, sharp outlines, grain; JPEG
  quality 90, 4:2:0, 0.25-0.45 bytes a pixel, as photographs have. All are in the page cache.
- **iiif-server** gets the plain JPEG and nothing but default settings. *Never seen* is a new name
  in a server whose processes have made a picture of something else; *ready* is a server just
  started on a cache with the pyramids in it, and nothing else.
- **iipimage-server**, Debian's, gets pyramidal TIFFs that were prepared for it (`vips tiffsave`,
  JPEG tiles, quality 85), one of 256 and one of 512 px tiles; ratios are against the better of
  the two. It runs as one process a core behind nginx, with default settings, and is restarted for
  each repeat. Now and then it crashes over a region; it is started again, and that request left
  out.
- **iiif-processor** gets the plain JPEG, in a node server that remembers dimensions.
- **512 px tiles**: viewers ask for info.json first, so that of each image is asked for, twelve
  times of each server, before its tiles are.
- **First view**: info.json, then the tiles of all levels that OpenSeadragon shows of the image
  fitted into 1200x800, then those it adds at twice the zoom; 6 connections; until the last
  answer.
- **First views beside builds** (`python -m bench.first_view` measures only these): the first
  views of two other images have just begun to make their full-resolution parts.
- **Whole pyramid**: one tile of each level is asked for at once; until the last answer.
- **Load** is `wrk` with one thread, on the same machine as the servers, so its share of the cores
  is missing to all. Its percentiles include its correction for requests that a slow answer
  delayed.
- **Memory** of a process tree is the highest sum of proportional set sizes, sampled 20 times a
  second.
- **SSIM** is of the luminance, with a Gaussian window, against Lanczos-3 (Pillow) of the whole
  original; six tiles a scale.
- Medians of three repeats, taken in turns with those of the other side."""


def _machine() -> str:
    cores = os.cpu_count() or 1
    return f"{cores} cores, {_model()}; {platform.system()} {platform.release().split('-')[0]}"


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _draw(panels: Sequence[tuple[str, Sequence[Curve]]], across: str, path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - installed by `make bench` only

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.5 * len(panels) if len(panels) > 1 else 9, 5), squeeze=False
    )
    for axis, (label, curves) in zip(axes[0], panels, strict=True):
        for curve in curves:
            horizontal, vertical = zip(*curve.points, strict=True)
            style = {"linestyle": "--", "alpha": 0.75} if curve.peer else {"linewidth": 2}
            axis.plot(horizontal, vertical, marker="o", markersize=4, label=curve.label, **style)
        ticks = sorted({point[0] for curve in curves for point in curve.points})
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel(across)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0][-1].legend(
        fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
