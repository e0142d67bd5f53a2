"""A book: isolated positions, later adjustments by their holders, and the assumptions behind them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from backtest.book.adjustments import check_adjustments
from backtest.errors import DataError
from backtest.market.files import read_frame
from backtest.schemas.arguments import checked
from backtest.schemas.conversion import converted
from backtest.schemas.frames import ADJUSTMENTS, OUTCOME_COLUMNS, POSITIONS
from backtest.schemas.given_frames import owned
from backtest.schemas.validation import conform, numbered, offence
from backtest.shown import shown


@shown("symbols", "positions", "adjustments", "survival", "open_interest", "trigger_price", "assumptions")
class Book:
    """Isolated positions, checked, with adjustments and assumptions.

    Parameters
    ----------
    positions
        Any frame (polars, pandas, Arrow, columns by name) of ``symbol, side, entry_time, entry_price, quantity``
        and ``margin``, ``leverage`` or both (null in one: it follows from the other); optionally ``position_id``
        (whole numbers or text; rows are numbered from 0 without), ``weight`` (number of equal positions that a
        row represents), ``exit_time``, ``exit_price``, ``stop_price``, ``take_profit_price`` (null: none). Other
        columns are carried through to the outcomes.
    adjustments
        ``position_id, time`` and ``margin_change`` (added, or withdrawn where negative), ``quantity_change`` (the
        part added, or closed where negative) or both; optionally ``price`` of the part (null: the mark's opening).
        A null ``margin_change`` of an addition is its initial margin at the selected leverage.
    assumptions
        Sentences about the origin of a synthetic book, printed with each result.
    survival
        ``symbol, time, long, short``: the logarithm of the share of a side that its holders have not closed
        themselves by each bar's open, for estimated books, whose rows decay. :func:`~backtest.sweep` then adds the
        column ``surviving_weight``: the weight of each row that is still open at its outcome.
    open_interest
        ``symbol, time, long, short``: base open on each side at each bar's open, for estimated books.
    trigger_price
        The price series whose liquidations an estimated book allows for. A sweep of it triggers on the same.

    Raises
    ------
    DataError
        For frames that break their schema or hold columns a sweep adds, ids used twice, exits before entries,
        stops on the winning side, adjustments of unknown positions or of more than is open.

    Examples
    --------
    >>> from backtest import Book
    >>> mine = {"symbol": ["BTCUSDT"], "side": ["long"], "entry_time": [noon], "entry_price": [38_000.0],
    ...         "quantity": [1.0], "leverage": [10.0]}
    >>> Book(mine)
    Book(1 positions in BTCUSDT, 0 adjustments)
    """

    @checked
    def __init__(
        self,
        positions: pl.DataFrame,
        adjustments: pl.DataFrame | None = None,
        assumptions: Iterable[str] = (),
        survival: pl.DataFrame | None = None,
        trigger_price: str | None = None,
        open_interest: pl.DataFrame | None = None,
    ) -> None:
        self.positions = numbered(owned(conform(positions, POSITIONS)), "position_id")
        self.assumptions = tuple(assumptions)
        self.survival = survival
        self.open_interest = open_interest
        self.trigger_price = trigger_price
        if not {"margin", "leverage"} & set(positions.columns):
            there = ", ".join(positions.columns)
            raise DataError(
                f"positions need a column margin, or leverage, or both: there is neither (there are {there})"
            )
        self._check_names()
        self._check_ids()
        for sentence, names, bad in _row_rules(self.positions):
            self._refuse(sentence, names, bad)
        self.adjustments = None
        if adjustments is not None:
            changes = check_adjustments(owned(conform(adjustments, ADJUSTMENTS)), self.positions)
            self.adjustments = None if changes.is_empty() else changes

    @classmethod
    def from_given(cls, given: Any, name: str) -> Book:
        """Return a book as it is, or that of a frame of positions."""
        if isinstance(given, cls):
            return given
        return cls(converted(given, pl.DataFrame, name, "a Book or a frame of positions"))

    def __len__(self) -> int:
        return self.positions.height

    def __repr__(self) -> str:
        changes = 0 if self.adjustments is None else self.adjustments.height
        symbols = ", ".join(self.symbols)
        return f"Book({len(self):,} positions in {symbols or 'nothing'}, {changes:,} adjustments)"

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The symbols held, in order of appearance."""
        return tuple(self.positions["symbol"].unique(maintain_order=True))

    @property
    def has_actions(self) -> bool:
        """Whether any position has an exit time, a stop, a take-profit or adjustments."""
        planned = {"exit_time", "stop_price", "take_profit_price"} & set(self.positions.columns)
        return self.adjustments is not None or any(
            self.positions[name].null_count() < len(self) for name in planned
        )

    @property
    def has_additions(self) -> bool:
        """Whether any adjustment adds to a position."""
        return self.adjustments is not None and bool((self.adjustments["quantity_change"] > 0).any())

    def _check_names(self) -> None:
        added = (*OUTCOME_COLUMNS, "surviving_weight")
        taken = [name for name in added if name in self.positions.columns]
        if taken:
            raise DataError(f"positions must not have the columns a sweep adds: rename or drop {', '.join(taken)}")

    def _check_ids(self) -> None:
        ids = self.positions["position_id"]
        rising = bool((ids > ids.shift(1)).all())
        if not rising and ids.n_unique() < len(self):
            again = ~pl.col("position_id").is_first_distinct()
            self._refuse("position_id must not repeat", ("position_id",), again)

    def _refuse(self, sentence: str, names: tuple[str, ...], bad: pl.Expr) -> None:
        if self.positions.select(bad.any()).item():
            raise DataError(offence(self.positions, "positions", sentence, bad, names))


@checked
def load(positions: str | Path, adjustments: str | Path | None = None) -> Book:
    """Read a book from Parquet or CSV files in the schemas of :class:`Book`.

    Raises
    ------
    DataError
        For files that are absent or damaged, and for contents :class:`Book` refuses.

    Examples
    --------
    >>> from backtest.book import load
    >>> load(folder / "positions.parquet")
    Book(1,000 positions in BTCUSDT, 0 adjustments)
    """
    return Book(
        read_frame(positions, POSITIONS),
        None if adjustments is None else read_frame(adjustments, ADJUSTMENTS),
        (f"positions as given in {Path(positions).name}",),
    )


def _row_rules(positions: pl.DataFrame) -> list[tuple[str, tuple[str, ...], pl.Expr]]:
    """Return the rules of a single row: the sentence, the columns to show, and where it is broken."""
    given = tuple(name for name in ("margin", "leverage") if name in positions.columns)
    neither = pl.all_horizontal(pl.col(*given).is_null())
    words = " or ".join(given)
    rules: list[tuple[str, tuple[str, ...], pl.Expr]] = [(f"{words} must be given, not null", given, neither)]
    entry, is_long = pl.col("entry_price"), pl.col("side") == "long"
    if "exit_time" in positions.columns:
        late = pl.col("exit_time") <= pl.col("entry_time")
        rules.append(("exit_time must lie after entry_time", ("entry_time", "exit_time"), late))
    if "exit_price" in positions.columns:
        exit_time = pl.col("exit_time") if "exit_time" in positions.columns else pl.lit(None)
        alone = pl.col("exit_price").is_not_null() & exit_time.is_null()
        rules.append(("exit_price needs an exit_time", ("exit_price",), alone))
    if "stop_price" in positions.columns:
        stop = pl.col("stop_price")
        wrong = pl.when(is_long).then(stop >= entry).otherwise(stop <= entry)
        sentence = "stop_price must lie on the losing side of entry_price"
        rules.append((sentence, ("side", "entry_price", "stop_price"), wrong))
    if "take_profit_price" in positions.columns:
        target = pl.col("take_profit_price")
        wrong = pl.when(is_long).then(target <= entry).otherwise(target >= entry)
        sentence = "take_profit_price must lie on the winning side of entry_price"
        rules.append((sentence, ("side", "entry_price", "take_profit_price"), wrong))
    return rules
