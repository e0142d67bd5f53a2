"""Argument parser whose errors are exceptions, so that they print as one line like any other error."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any, NoReturn

from backtest.cli.common import types
from backtest.errors import ArgumentError

#: A value that begins with a minus, such as -3d or -1e5, which argparse takes for an option.
NEGATIVE = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """Parser whose errors are exceptions, and whose help is as wide as the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_formatter, allow_abbrev=False, **settings)
        self.register("type", None, types.word)  # of arguments without a type
        self._negative_number_matcher = NEGATIVE
        self.options: dict[str, str] = {}  #: option by the Python argument, where its own name is another
        self.setting = "{} {}"  #: how an option and its value are written
        self.commands: Mapping[str, Parser] = {}

    def option_of(self, argument: str) -> str | None:
        """Return what sets a Python argument here; None where nothing does."""
        own = {action.dest: [*action.option_strings, str(action.metavar)][0] for action in self._actions}
        return self.options.get(argument, own.get(argument))

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise ArgumentError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; an unknown one is an error of its command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from backtest.schemas.conversion import meant  # numpy, which help does without

            asked = meant(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{asked}")
        return found, unknown


class Version(argparse.Action):
    """Print the version, looked up only when requested."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and exit."""
        import backtest

        print(f"backtest {backtest.__version__}")
        parser.exit()


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(get_terminal_size().columns, 110) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=width)
