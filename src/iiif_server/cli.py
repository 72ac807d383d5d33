"""Command line: a click group whose commands are the modules of `commands`."""

from importlib import import_module

import click

COMMANDS = {
    "serve": "Serve images.",
    "check": "Check settings, folders, sources, codecs and the sandbox.",
    "locate": "Show where the original of an identifier is looked for.",
    "formats": "Print the formats that are read and written, in Markdown.",
    "settings": "Print the reference of all settings, in Markdown.",
    "prepare": "Make pyramids ahead of time.",
    "warm": "Make what viewers request of images ahead of time.",
    "export": "Write images as files for any web server.",
    "pyramid": "Write pyramidal tiled TIFFs of images, for use elsewhere.",
    "sign": "Print a signed URL that expires.",
    "migrate": "Convert the configuration of another image server.",
    "compare": "Compare the images of two IIIF servers.",
    "replay": "Send the requests of an access log to a server.",
    "cache": "Show the size of the cache of derivatives, or empty it.",
}
"""Summary of each command, so that `--help` imports no command."""
_MODULES = dict.fromkeys(COMMANDS, "") | {"serve-share": "serve"}
"""Module of each command; empty if it has the name of the command. `serve-share` is internal."""


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the public commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None if no command has this name."""
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"iiif_server.commands.{_MODULES[cmd_name] or cmd_name}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the summaries of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="iiif-server")
def main() -> None:
    """A IIIF image server: any image performs like a prepared pyramid."""
