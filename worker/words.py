"""Words of the command line: what a list of commands says of one, its own `--help` says too."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def add_command(commands: Commands, name: str, about: str) -> argparse.ArgumentParser:
    """A command, or a verb of one; `about` is a phrase without a full stop."""
    return commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
