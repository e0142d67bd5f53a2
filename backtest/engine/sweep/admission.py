"""Which positions of a book a market and a venue can take, and what happens to the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.notional import entry_notional, selected_leverage
from backtest.errors import ArgumentError, BacktestError, DataError, TiersError
from backtest.kernel.arrays import Positions
from backtest.kernel.sweep import admission
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Flags, Floats, Integers, readonly
from backtest.rules.margin import table_size
from backtest.rules.timeline import milliseconds
from backtest.schemas.validation import breaking, say

if TYPE_CHECKING:
    from backtest.engine.sweep.prepare import Prepared
    from backtest.rules.rulebook import Group

LEVERAGE_LIMITS = ("error", "cap", "filter")


@dataclass(frozen=True, eq=False)
class Admitted:
    """The positions that will be swept."""

    frame: pl.DataFrame
    adjustments: pl.DataFrame | None  #: with the ``row`` of their position in ``frame``
    positions: Positions
    used: Flags  #: (trees,) which trees they may need


@dataclass(frozen=True, eq=False)
class Survey:
    """How many positions are refused for each reason, and the first of each."""

    counts: Integers
    firsts: Integers
    used: Flags
    group_counts: Integers


def admit(book: Book, prepared: Prepared, leverage_limit: str, threads: int | None) -> Admitted:
    """Return the positions to sweep, after refusing, capping or leaving out what the tiers do not allow."""
    if leverage_limit not in LEVERAGE_LIMITS:
        raise ArgumentError(f"leverage_limit must be one of {', '.join(LEVERAGE_LIMITS)}, is {leverage_limit!r}")
    frame, adjustments = book.positions, book.adjustments
    positions = position_arrays(frame, prepared)
    found = _survey(positions, prepared, threads)
    if leverage_limit == "filter" and found.counts[[admission.BEYOND_TABLE, admission.BEYOND_LEVERAGE]].any():
        _refuse(frame, found, prepared, (admission.BEFORE_HISTORY, admission.AFTER_HISTORY, admission.NO_TABLE))
        frame, adjustments = _within_limits(frame, adjustments, positions, prepared)
    elif leverage_limit == "cap" and found.counts[admission.BEYOND_LEVERAGE]:
        frame = _capped(frame, positions, prepared)
    if frame is not book.positions:
        positions = position_arrays(frame, prepared)
        found = _survey(positions, prepared, threads)
    _refuse(frame, found, prepared, range(admission.REASONS))
    used = found.used if adjustments is None else found.used | _after_changes(adjustments, positions, prepared)
    return Admitted(frame, adjustments, positions, used)


def group_counts(book: Book, prepared: Prepared) -> Integers:
    """Return how many positions fall under each group; refuses those under none."""
    found = _survey(position_arrays(book.positions, prepared), prepared, None)
    _refuse(book.positions, found, prepared, (admission.NO_TABLE,))
    return found.group_counts


def _after_changes(adjustments: pl.DataFrame, positions: Positions, prepared: Prepared) -> Flags:
    """Return which trees positions may need once their terms have changed: any of their symbols'."""
    changed = np.unique(positions.symbol[adjustments["row"].to_numpy()])
    return np.isin([tree.symbol for tree in prepared.rules.trees], changed)


def position_arrays(frame: pl.DataFrame, prepared: Prepared) -> Positions:
    """Return positions as arrays; a missing margin or leverage stands for itself by the other."""
    has_margin, has_leverage = "margin" in frame.columns, "leverage" in frame.columns
    given = {name: _array(frame, name) for name in ("margin", "leverage") if name in frame.columns}
    either = next(iter(given.values()))
    return Positions(
        symbol=symbol_codes(frame["symbol"], prepared.market.symbols),
        side=readonly(frame["side"].to_physical().rechunk().to_numpy()),
        entry_time=readonly(frame["entry_time"].to_physical().rechunk().to_numpy()),
        entry_price=_array(frame, "entry_price"),
        quantity=_array(frame, "quantity"),
        margin=given.get("margin", either),
        leverage=given.get("leverage", either),
        has_margin=has_margin,
        has_leverage=has_leverage,
    )


def symbol_codes(symbols: pl.Series, known: tuple[str, ...]) -> Any:
    """Return which of the known symbols each is."""
    if len(known) == 1:
        return readonly(np.zeros(symbols.len(), np.uint8))
    physical = symbols.cast(pl.Enum(known)).to_physical()
    return readonly(physical.cast(pl.UInt8 if len(known) < 256 else pl.UInt32).rechunk().to_numpy())


def _array(frame: pl.DataFrame, name: str) -> Any:
    return readonly(frame[name].rechunk().to_numpy())


def _survey(positions: Positions, prepared: Prepared, threads: int | None) -> Survey:
    trees, groups = len(prepared.rules.trees), len(prepared.rules.groups)

    def run(begin: int, stop: int) -> Survey:
        counts = np.zeros(admission.REASONS, np.int64)
        firsts = np.full(admission.REASONS, -1)
        part = Survey(counts, firsts, np.zeros(trees, np.bool_), np.zeros(groups, np.int64))
        admission.survey(
            prepared.bars,
            prepared.funding,
            prepared.rules.rules,
            positions,
            part.counts,
            part.firsts,
            part.used,
            part.group_counts,
            begin,
            stop,
        )
        return part

    parts = in_chunks(run, positions.side.size, threads)
    if not parts:
        parts = [run(0, 0)]
    firsts = np.array([part.firsts for part in parts])
    return Survey(
        counts=np.sum([part.counts for part in parts], axis=0),
        firsts=np.where(
            (firsts >= 0).any(axis=0), firsts[np.argmax(firsts >= 0, axis=0), range(admission.REASONS)], -1
        ),
        used=np.any([part.used for part in parts], axis=0),
        group_counts=np.sum([part.group_counts for part in parts], axis=0),
    )


def _limits(positions: Positions, prepared: Prepared) -> Floats:
    found = np.empty(positions.side.size)
    admission.leverage_limits(prepared.rules.rules, positions, found, 0, found.size)
    return found


def _within_limits(
    frame: pl.DataFrame, adjustments: pl.DataFrame | None, positions: Positions, prepared: Prepared
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the positions whose leverage and size their tiers allow, and their adjustments."""
    allowed = np.empty(frame.height, np.bool_)
    admission.admissible(prepared.rules.rules, positions, allowed, 0, frame.height)
    kept = frame.filter(pl.Series(allowed))
    if adjustments is not None:
        still = adjustments.filter(pl.Series(allowed).gather(adjustments["row"]))
        rows = pl.Series(np.cumsum(allowed) - 1)  # -1 before the first that is kept, which none of these is
        adjustments = still.with_columns(row=rows.gather(still["row"]).cast(pl.UInt32))
    return kept, adjustments


def _capped(frame: pl.DataFrame, positions: Positions, prepared: Prepared) -> pl.DataFrame:
    """Return positions with leverage lowered to their limits, and margins raised to the initial margin there."""
    limit = pl.lit(pl.Series(_limits(positions, prepared)))  # no column, whose name might be taken
    notional = entry_notional(prepared.contracts)
    changes = []
    if "leverage" in frame.columns:
        beyond = pl.col("leverage") > limit
        changes.append(pl.when(beyond).then(limit).otherwise(pl.col("leverage")).alias("leverage"))
    else:
        beyond = notional / pl.col("margin") > limit
    if "margin" in frame.columns:
        needed = notional / limit
        raised = pl.max_horizontal(pl.col("margin"), needed)
        changes.append(pl.when(beyond).then(raised).otherwise(pl.col("margin")).alias("margin"))
    return frame.with_columns(changes)


def _refuse(frame: pl.DataFrame, found: Survey, prepared: Prepared, reasons: Any) -> None:
    """Raise for the first reason any position is refused for."""
    for reason in reasons:
        count = int(found.counts[reason])
        if count:
            row = int(found.firsts[reason])
            raise _error(frame, reason, count, row, prepared)


def _error(frame: pl.DataFrame, reason: int, count: int, row: int, prepared: Prepared) -> BacktestError:
    position = frame.row(row, named=True)
    symbol, entry_time = position["symbol"], say(position["entry_time"])
    number = prepared.market.symbols.index(symbol)
    who = (
        f"{breaking(count, frame.height)}, first row {row:,} "
        f"(position_id={position['position_id']}, symbol={symbol!r}, "
    )
    if reason in (admission.BEFORE_HISTORY, admission.AFTER_HISTORY):
        covered = f"bars of {symbol} cover {_span(prepared, number)}"
        return DataError(
            f"positions: entry_time must lie inside the history: {who}entry_time={entry_time}); {covered}"
        )
    own = [group for group in prepared.rules.groups if group.symbol == number]
    contract = own[0].contract
    if reason == admission.NO_TABLE:
        dates = ", ".join(
            f"{table.name} ({table.start:%Y-%m-%d} to {table.end:%Y-%m-%d})" for table in contract.tables
        )
        return TiersError(
            f"positions: margin tiers must be in force at the entry: {who}entry_time={entry_time}); the tables of "
            f"{symbol} are {dates}: ask for the nearest, or name a stand-in"
        )
    shown = f"quantity={position['quantity']:,.10g}, entry_price={position['entry_price']:,.10g}"
    if reason == admission.BEYOND_TABLE:
        return DataError(
            f"positions: size must be one their tiers cover: {who}{shown}, "
            f"{_size_and_cap(position, own)}); make it smaller, or leave it out (leverage_limit filter)"
        )
    limit = _limits(position_arrays(frame[row], prepared), prepared)[0]
    leverage = frame[row].select(selected_leverage(frame, [contract])).item()
    return DataError(
        f"positions: leverage must be within the limit of its tier: {who}{shown}, leverage={leverage:.10g}, "
        f"limit={limit:.10g}); lower it (leverage_limit cap) or leave it out (leverage_limit filter)"
    )


def _span(prepared: Prepared, symbol: int) -> str:
    """Return from when to when the bars of a symbol run."""
    first, end = prepared.market.firsts[symbol : symbol + 2]
    times, interval = prepared.market.times, prepared.market.intervals[symbol]
    return f"{_moment(times[first])} to {_moment(times[end - 1] + interval)}"


def _size_and_cap(position: dict[str, Any], groups: list[Group]) -> str:
    """Return the size of a position as its table counts it, and the largest the table covers."""
    entry = milliseconds(position["entry_time"])
    group = [group for group in groups if group.start <= entry][-1]
    quantity, price = np.array([position["quantity"]]), np.array([position["entry_price"]])
    with np.errstate(over="ignore"):  # infinite is a size to tell, too
        size = table_size(group.contract, group.table, quantity=quantity, entry_price=price)[0]
    return f"{group.table.size}={size:,.10g}, limit={group.table.cap:,.10g}"


def _moment(time: Any) -> str:
    return say(pl.Series([int(time)]).cast(pl.Datetime("ms", "UTC"))[0])
