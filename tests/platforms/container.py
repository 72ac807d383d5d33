"""Runs the steps of the Dockerfile without a container engine, and the image's process 1.

Each stage is a copy of a Debian root, each RUN a `chroot`. Needs root. Usage: `make container`.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.dockerfile import instructions

PROJECT = Path(__file__).parents[2]
INSIDE = PROJECT / "tests/platforms/inside"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """State of a stage after its instructions."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    folder: str = "/"
    user: str = ""
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def start(self, command: list[str], *, contained: bool = False) -> "subprocess.Popen[bytes]":
        """Start a command; `contained`: as the image's user, with a read-only root."""
        env = os.environ | self.environment | {"INSIDE_PATH": self.environment["PATH"]}
        if contained:
            env |= {"INSIDE_USER": self.user, "INSIDE_WRITABLE": " ".join(self.volumes)}
        script = f"cd {shlex.quote(self.folder)} && exec {shlex.join(command)}"
        return subprocess.Popen([INSIDE, self.root, "sh", "-c", script], env=env)

    def run(self, command: list[str], *, contained: bool = False) -> None:
        code = self.start(command, contained=contained).wait()
        if code:
            sys.exit(f"exit code {code}: {shlex.join(command)}")


def copy(stage: Stage, stages: dict[str, Stage], rest: str) -> None:
    words = rest.split()
    source = PROJECT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    into = stage.root / stage.folder.lstrip("/") / target.lstrip("/")
    if target.startswith("/"):
        into = stage.root / target.lstrip("/")
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            ignored = shutil.ignore_patterns("bundle", "node_modules", "__pycache__")
            ignore = ignored if source is PROJECT and name == "src" else None
            shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy2(path, into / path.name if target.endswith(("/", ".")) else into)


def build(base: Path, work: Path) -> Stage:
    """Return the last stage, after all instructions."""
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for word, rest in instructions():
        print(f"{word} {rest}"[:120], flush=True)
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "image"
            stage = stages[name] = Stage(work / name)
            subprocess.run(["cp", "-a", "--reflink=auto", base, stage.root], check=True)
            # As the images of Python have it.
            (stage.root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        elif word == "COPY":
            copy(stage, stages, rest)
        else:
            STEPS[word](stage, rest)
    return stage


def run(stage: Stage, rest: str) -> None:
    stage.run(["sh", "-c", rest])


def workdir(stage: Stage, rest: str) -> None:
    stage.folder = rest
    (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)


def env(stage: Stage, rest: str) -> None:
    for item in shlex.split(rest):
        key, _, value = item.partition("=")
        stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])


def user(stage: Stage, rest: str) -> None:
    stage.user = rest


def volume(stage: Stage, rest: str) -> None:
    stage.volumes = json.loads(rest)


def entrypoint(stage: Stage, rest: str) -> None:
    stage.entrypoint = json.loads(rest)


def cmd(stage: Stage, rest: str) -> None:
    stage.command = json.loads(rest)


def healthcheck(stage: Stage, rest: str) -> None:
    stage.health = json.loads(rest.rpartition("CMD ")[2])


def ignore(_: Stage, __: str) -> None:
    """Ignore an instruction for metadata."""


STEPS: dict[str, Callable[[Stage, str], None]] = {
    "RUN": run,
    "WORKDIR": workdir,
    "ENV": env,
    "USER": user,
    "VOLUME": volume,
    "ENTRYPOINT": entrypoint,
    "CMD": cmd,
    "HEALTHCHECK": healthcheck,
    "LABEL": ignore,
    "EXPOSE": ignore,
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def fetch(url: str, seconds: float = 0) -> bytes:
    """Return the body of a response with status 200, within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def serve(stage: Stage, arguments: list[str]) -> None:
    """Run the image as its process 1, and stop it as a container engine does."""
    port = stage.environment["IIIF_HTTP_PORT"] = str(free_port())
    print(shlex.join([*stage.entrypoint, *arguments]), flush=True)
    process = stage.start([*stage.entrypoint, *arguments], contained=True)
    try:
        base = f"http://127.0.0.1:{port}"
        fetch(f"{base}/health", seconds=120)
        assert fetch(f"{base}/sample:atlas.jpg/0,0,512,512/256,/0/default.jpg")[:2] == b"\xff\xd8"
        assert b"openseadragon" in fetch(f"{base}/sample:atlas.jpg/view")
        stage.run(stage.health)
        (first,) = (
            int(child)
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children")
            .read_text()
            .split()
        )
        os.kill(first, signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()


def main(base: Path) -> None:
    work = base.with_name("container-stages")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    stage = build(base, work)
    serve(stage, stage.command)
    serve(stage, ["serve", "--workers", "2"])
    shutil.rmtree(work)
    print("The container's steps work.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
