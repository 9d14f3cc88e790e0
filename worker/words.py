"""Words of the command line: what a list of commands says of one, its own `--help` says too."""

import argparse
import re
from collections.abc import Callable
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def add_command(commands: Commands, name: str, about: str) -> argparse.ArgumentParser:
    """A command, or a verb of one; `about` is a phrase without a full stop."""
    return commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")


def number(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number within bounds, as `type=` of an argument."""

    def read(text: str) -> int:
        if re.fullmatch(r"\d{1,12}", text, re.ASCII) is None or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return read
