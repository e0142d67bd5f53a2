"""What can go wrong, as one tree of exceptions.

::

    BacktestError
    ├── DataError          a frame or a file breaks its schema (also a ValueError)
    ├── RulesError         a venue file or a changed rule is wrong (also a ValueError)
    │   └── TiersError     no margin tiers apply to some positions
    ├── ArgumentError      an option or a combination of options cannot be served (also a ValueError)
    ├── FetchError         data that are not on the disk could not be had
    └── IncompleteError    part of a long job could not be done; what could is there

What merely looks wrong in a book is warned of once, as :class:`InputWarning`. Every message names the argument,
the rule it breaks, how many rows do and the first of them.
"""

from collections.abc import Mapping, Sequence


class BacktestError(Exception):
    """Anything this package refuses."""


class DataError(BacktestError, ValueError):
    """A frame or a file does not follow its schema."""


class RulesError(BacktestError, ValueError):
    """A venue's rules cannot be used as they stand; ``problems`` lists each as (path of the setting, sentence)."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class TiersError(RulesError):
    """No margin tiers are in force for some positions."""


class ArgumentError(BacktestError, ValueError):
    """An option, or options together, cannot be served."""


class FetchError(BacktestError):
    """Data that are not on the disk could not be had: no connection, a refusal, or never published."""


class IncompleteError(BacktestError):
    """Part of a long job could not be done; what could is there. ``failed`` says why, by the part's name."""

    def __init__(self, message: str, failed: Mapping[str, str]) -> None:
        super().__init__(message)
        self.failed = dict(failed)


class InputWarning(UserWarning):
    """What in positions that were given looks wrong, though nothing is refused for it."""


def kind_of(given: object) -> str:
    """Return what something is, in a word or two."""
    if given is None or isinstance(given, bool | int | float | str):
        return repr(given)
    package = type(given).__module__.partition(".")[0]
    return type(given).__name__ if package == "builtins" else f"{package}.{type(given).__name__}"
