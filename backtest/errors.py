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

import re
from collections.abc import Callable, Mapping, Sequence

#: Characters of a message, and of one value in it; of longer ones the middle is left out.
LONGEST_MESSAGE, LONGEST_VALUE = 4_000, 200


#: An argument and the value that would serve; True of one that is set or not.
Remedy = tuple[str, str | bool]

#: The beginning of an address of object storage, whose second slash a path has lost. A drive has one letter.
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def require_folder_of_this_machine(folder: object, argument: str) -> None:
    """Raise where results are to be written to an address: they would go to a folder of such a name here.

    Raises
    ------
    ArgumentError
        For an address.
    """
    if ADDRESS.match(str(folder)):
        raise ArgumentError(
            f"must be a folder of this machine, is the address {quoted(str(folder))}: results are not written to "
            "object storage",
            argument=argument,
        )


def quoted(value: object) -> str:
    """Return a value of the user as messages show it: its ``repr``, the middle left out where it is long."""
    return shortened(repr(value), LONGEST_VALUE)


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters; of a longer one the ends, and how much is left out."""
    if len(text) <= most:
        return text
    gap = f" ... ({len(text) - most:,} characters) ... "
    ends = max(most - len(gap), 2)
    return f"{text[: ends - ends // 2]}{gap}{text[-(ends // 2) :]}"


class BacktestError(Exception):
    """Base class of all errors of this package.

    The text names arguments as Python does; :meth:`message` writes it with other names, as the command line does.
    Of text of a user's that is too long for a message the middle is left out, whatever sentence it stands in.

    Parameters
    ----------
    sentence
        The rule that is broken, the value given, how many do and the first.
    argument
        The argument it is about, of which the sentence is said.
    remedies
        Arguments and values that would serve instead.
    """

    def __init__(self, sentence: str, *, argument: str | None = None, remedies: Sequence[Remedy] = ()) -> None:
        self.sentence, self.argument = shortened(sentence, LONGEST_MESSAGE), argument
        self.remedies = tuple(remedies)
        super().__init__(self.message())

    def message(
        self, named: Callable[[str], str | None] = str, setting: str = "{}={!r}", flag: str = "{}=True"
    ) -> str:
        """Return the message in a caller's words.

        Parameters
        ----------
        named
            What an argument is called; None where it cannot be set, whose remedies are left out.
        setting
            How an argument and its value are written, a format.
        flag
            How an argument that is set to True is written, a format.
        """
        subject = "" if self.argument is None else f"{named(self.argument) or self.argument} "
        ways = [
            flag.format(name) if value is True else setting.format(name, value)
            for argument, value in self.remedies
            if (name := named(argument))
        ]
        text = f"{subject}{self.sentence}" + (f" ({' or '.join(ways)})" if ways else "")
        return shortened(text, LONGEST_MESSAGE)


class DataError(BacktestError, ValueError):
    """A frame or a file does not follow its schema."""


class RulesError(BacktestError, ValueError):
    """A venue's rules cannot be used; ``problems`` lists each problem as (path of the setting, sentence)."""

    def __init__(
        self,
        sentence: str,
        problems: Sequence[tuple[str, str]] = (),
        *,
        argument: str | None = None,
        remedies: Sequence[Remedy] = (),
    ) -> None:
        super().__init__(sentence, argument=argument, remedies=remedies)
        self.problems = tuple(problems)


class TiersError(RulesError):
    """No margin tiers are in force for some positions."""


class ArgumentError(BacktestError, ValueError):
    """An option, or a combination of options, is not possible."""


class FetchError(BacktestError):
    """Data that are not on the disk could not be fetched: no connection, a refusal, or never published."""


class IncompleteError(BacktestError):
    """Part of a long job could not be done; the rest is kept. ``failed`` holds the reasons, by the part's name."""

    def __init__(self, sentence: str, failed: Mapping[str, str], *, remedies: Sequence[Remedy] = ()) -> None:
        super().__init__(sentence, remedies=remedies)
        self.failed = dict(failed)


class InputWarning(UserWarning):
    """Suspicious values in positions that are accepted nevertheless."""


def kind_of(given: object) -> str:
    """Return the kind of a value in a word or two, for messages."""
    if given is None or isinstance(given, bool | int | float | str):
        return quoted(given)
    package = type(given).__module__.partition(".")[0]
    return type(given).__name__ if package == "builtins" else f"{package}.{type(given).__name__}"
