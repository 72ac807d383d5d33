"""The group of commands: what its help says, and what it imports."""

import pkgutil
import subprocess
import sys

import pytest
from click import Context

from iiif_server import commands
from iiif_server.cli import COMMANDS, main


def test_every_command_module_is_a_command() -> None:
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert modules - {"bulk", "common", "sample", "urls"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_how_the_help_of_a_command_begins(name: str) -> None:
    command = main.get_command(Context(main), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").startswith(COMMANDS[name].rstrip("."))


def test_help_imports_no_command() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from iiif_server.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print(*(name for name in sys.modules if name.startswith('iiif_server.commands.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
