"""The command ``backtest``: parse, run one command, and turn what it refuses into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from backtest.cli import option_words
from backtest.cli.common.progress import notices_above_progress
from backtest.cli.parser import build_parser
from backtest.errors import BacktestError, IncompleteError, TiersError

REFUSED, INCOMPLETE, INTERRUPTED = 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0; 2 with one line that says what was refused; 3 with one that says which part of a long job could not be done.
    """
    try:
        options = build_parser().parse_args(argv)
        command = import_module(f"backtest.cli.{options.command}.command")
        notices_above_progress()
        command.run(options)
        sys.stdout.flush()
    except SystemExit as finished:  # --help and --version have printed what they are for
        return int(finished.code or 0)
    except BrokenPipeError:  # whoever read our output has stopped: nothing more to say, also at shutdown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except IncompleteError as error:
        return _refuse(str(error), INCOMPLETE)
    except TiersError as error:
        return _refuse(f"{error} (--tiers nearest, or --tiers SYMBOL=TABLE)")
    except BacktestError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _refuse(message: str, code: int = REFUSED) -> int:
    print(f"backtest: error: {option_words.told(' '.join(message.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
