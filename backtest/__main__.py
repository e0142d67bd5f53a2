"""Command line entry point: parse the options, run one command, print an error in one line."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from backtest.cli.common.interruptions import ended_as_interrupted, exit_code
from backtest.cli.common.parser_errors import Parser
from backtest.cli.common.progress import notices_above_progress
from backtest.cli.parser import build_parser
from backtest.errors import LONGEST_MESSAGE, BacktestError, IncompleteError, shortened

REFUSED, INCOMPLETE = 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 2: refused, with a line that names the error. 3: parts of a long job are not done, with a line that
    names them. 128 and the number of the signal: ended by one.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(argv)
        parser = parser.commands[options.command]
        command = import_module(f"backtest.cli.{options.command}.command")
        notices_above_progress()
        with ended_as_interrupted(), warnings.catch_warnings(), _held(options):
            warnings.filterwarnings(
                "ignore", "Glyph .* missing from", UserWarning
            )  # a caption in a script without font
            command.run(options)
            sys.stdout.flush()
    except SystemExit as finished:  # --help and --version have printed their text
        return int(finished.code or 0)
    except BrokenPipeError:  # the reader of the output has stopped: print nothing more, also at shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except IncompleteError as error:
        return _refuse(_message(error, parser), INCOMPLETE)
    except BacktestError as error:
        return _refuse(_message(error, parser))
    except MemoryError as error:
        return _refuse(f"there is not enough memory: {str(error) or 'take fewer positions or bars'}")
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt as interrupt:
        return exit_code(interrupt)
    return 0


def _held(options: Namespace) -> AbstractContextManager[None]:
    """Hold the output folder of a command that has one."""
    if getattr(options, "out", None) is None:
        return nullcontext()
    return import_module("backtest.cli.common.outputs").held(options.out)  # type: ignore[no-any-return]


def _message(error: BacktestError, parser: Parser) -> str:
    """Return what was refused, arguments named as the options that set them."""
    return error.message(parser.option_of, parser.setting, "{}")


def _refuse(message: str, code: int = REFUSED) -> int:
    print(f"backtest: error: {shortened(' '.join(message.split()), LONGEST_MESSAGE)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
