"""Exceptions of the package, as one tree.

::

    BacktestError
    ├── DataError          a frame or a file breaks its schema (also a ValueError)
    ├── RulesError         a venue file or a changed rule is wrong (also a ValueError)
    │   └── TiersError     no margin tiers apply to some positions
    ├── ArgumentError      an option or a combination of options is not possible (also a ValueError)
    ├── FetchError         data that are not on the disk could not be fetched
    └── IncompleteError    part of a long job could not be done; the rest is kept

Suspicious positions that are accepted raise an :class:`InputWarning`, once for each book. Every message names the
argument, the rule, how many rows break it and the first of them.
"""

from collections.abc import Mapping, Sequence


class BacktestError(Exception):
    """Base class of all errors of this package.

    Parameters
    ----------
    sentence
        The rule that is broken, the value given, how many do and the first.
    argument
        The Python argument it is about, which the message then begins with. The command line names its own option.
    """

    def __init__(self, sentence: str, *, argument: str | None = None) -> None:
        super().__init__(sentence if argument is None else f"{argument} {sentence}")
        self.sentence = sentence
        self.argument = argument


class DataError(BacktestError, ValueError):
    """A frame or a file does not follow its schema."""


class RulesError(BacktestError, ValueError):
    """A venue's rules cannot be used; ``problems`` lists each problem as (path of the setting, sentence)."""

    def __init__(
        self, sentence: str, problems: Sequence[tuple[str, str]] = (), *, argument: str | None = None
    ) -> None:
        super().__init__(sentence, argument=argument)
        self.problems = tuple(problems)


class TiersError(RulesError):
    """No margin tiers are in force for some positions."""


class ArgumentError(BacktestError, ValueError):
    """An option, or a combination of options, is not possible."""


class FetchError(BacktestError):
    """Data that are not on the disk could not be fetched: no connection, a refusal, or never published."""


class IncompleteError(BacktestError):
    """Part of a long job could not be done; the rest is kept. ``failed`` holds the reasons, by the part's name."""

    def __init__(self, message: str, failed: Mapping[str, str]) -> None:
        super().__init__(message)
        self.failed = dict(failed)


class InputWarning(UserWarning):
    """Suspicious values in positions that are accepted nevertheless."""


def kind_of(given: object) -> str:
    """Return the kind of a value in a word or two, for messages."""
    if given is None or isinstance(given, bool | int | float | str):
        return repr(given)
    package = type(given).__module__.partition(".")[0]
    return type(given).__name__ if package == "builtins" else f"{package}.{type(given).__name__}"
