"""The bar that asks most of a trade that was added to or partly closed: found and measured by sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.sweep.prepare import Prepared
from backtest.engine.sweep.survey import symbol_codes
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin import formula
from backtest.kernel.types import Floats, Integers
from backtest.rules.margin import maintenance_margin, signs
from backtest.rules.rulebook import groups_after, groups_of
from backtest.trades.holding.counted import NEEDED, Sweeps

MOMENT = pl.duration(milliseconds=1)


def hardest_bars(there: Sweeps, rows: pl.DataFrame, margin_that_holds: Floats) -> Integers:
    """Return the opening (ms) of the bar that liquidates each trade of just too little margin; -1 for none.

    It may lie before the entry: an entry bar opens before it.
    """
    frame = rows.select(NEEDED)
    poor = there.swept(frame, margin=np.fmax(margin_that_holds * (1 - 1e-7), 1e-12))  # NaN where rejected
    poor = poor.filter("liquidated").select(pl.col("position_id").cast(pl.UInt32).alias("row"), "outcome_time")
    joined = frame.join(poor, on="row", how="left", maintain_order="left")
    return joined["outcome_time"].dt.epoch("ms").fill_null(-1).to_numpy()


def worst_prices(prepared: Prepared, symbols: Sequence[str], rows: pl.DataFrame, moments: Integers) -> Floats:
    """Return the worst price for each trade in the bar that opens at a moment; NaN for no moment.

    Of the bar of the entry it is the close, of that of the exit the opening, or the exit's price if it triggers.
    """
    found, bars = np.full(rows.height, np.nan), prepared.bars
    entries = rows["entry_time"].to_physical().to_numpy()
    exits = rows["exit_time"].to_physical().fill_null(np.iinfo(np.int64).max).to_numpy()
    left_at = rows["exit_price"].fill_null(float("nan")).to_numpy()
    longs = (rows["side"] == "long").to_numpy()
    codes = symbol_codes(rows["symbol"], tuple(symbols))
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(symbols) + 1))
    for number in range(len(symbols)):
        held = order[edges[number] : edges[number + 1]]
        own = held[moments[held] >= 0]
        first, last = bars.first[number : number + 2]
        places = first + np.searchsorted(bars.time[first:last], moments[own])
        worst = np.where(longs[own], bars.low[places], bars.high[places])
        opening = bars.open[places]
        if bars.traded:
            further = np.where(longs[own], np.fmin(opening, left_at[own]), np.fmax(opening, left_at[own]))
            opening = further
        leaves = exits[own] < moments[own] + bars.interval[number]
        found[own] = np.where(leaves, opening, np.where(moments[own] < entries[own], bars.close[places], worst))
    return found


def measured(there: Sweeps, rows: pl.DataFrame, moments: Integers, worst: Floats) -> tuple[Floats, Floats]:
    """Return the equity of each trade at the worst price of its hardest bar, and the liquidation price there."""
    opening = pl.Series(moments).cast(pl.Datetime("ms", "UTC"))
    until = pl.max_horizontal(opening, "entry_time") + MOMENT  # inside the bar, whose end is the next opening
    ended = rows.select(NEEDED).with_columns(exit_time=until, exit_until=until, exit_price=pl.Series(worst))
    ended = ended.filter(pl.Series(moments >= 0))
    nothing = np.full(rows.height, np.nan)
    if ended.is_empty():
        return nothing, nothing
    found = there.swept(ended).select(
        pl.col("position_id").cast(pl.UInt32).alias("row"), "liquidation_price", "equity_at_fill"
    )
    own = rows.select("row").join(found, on="row", how="left", maintain_order="left")
    return (
        own["equity_at_fill"].fill_null(float("nan")).to_numpy(),
        own["liquidation_price"].fill_null(float("nan")).to_numpy(),
    )


def peak_margin_ratios(
    prepared: Prepared,
    rows: pl.DataFrame,
    changes: pl.DataFrame,
    moments: Integers,
    worst: Floats,
    equity: Floats,
) -> Floats:
    """Return maintenance margin over equity at the worst price of each trade's hardest bar; NaN where not known.

    Parameters
    ----------
    prepared : market and rules
    rows : (n,) the trades
    changes : of these trades, at their sizes
    moments, worst, equity : (n,) the hardest bar, its price, and the equity there
    """
    found = np.full(rows.height, np.nan)
    by_trade = {key: part for (key,), part in changes.sort("time", maintain_order=True).group_by("position_id")}
    groups = tables_at(prepared, rows, moments)
    known = (moments >= 0) & np.isfinite(equity)
    for number in np.unique(groups[known]):
        own = prepared.rules.groups[number]
        kind, some = ContractKind.code(own.contract.kind), np.flatnonzero(known & (groups == number))
        part, price = rows[some], worst[some]
        held = [
            _held_at(kind, row, by_trade.get(row["trade_id"]), moment)
            for row, moment in zip(part.iter_rows(named=True), moments[some].tolist(), strict=True)
        ]
        quantity, entry, since = (np.array(values) for values in zip(*held, strict=True))
        side = np.asarray(signs(part["side"].cast(pl.String).to_numpy()), np.float64)
        moved = np.asarray(formula.result(kind, side, quantity, entry, price))
        paid = _funding(prepared, own.symbol, moments[some]) - _funding(prepared, own.symbol, since)
        kept = maintenance_margin(
            own.contract, own.table, side=side, quantity=quantity, entry_price=entry, price=price,
            margin=equity[some] - moved + side * quantity * np.where(since <= moments[some], paid, 0.0),
            leverage=part["leverage"].to_numpy(),
        )  # fmt: skip
        found[some] = kept / equity[some]
    return found


def tables_at(prepared: Prepared, rows: pl.DataFrame, moments: Integers) -> Integers:
    """Return the groups of the rules that trades are under at some moments (ms)."""
    codes = symbol_codes(rows["symbol"], prepared.market.symbols)
    entered = rows["entry_time"].to_physical().to_numpy()
    rules = prepared.rules.rules
    return groups_after(rules, groups_of(rules, codes, entered), np.maximum(moments, entered))


def _funding(prepared: Prepared, symbol: int, moments: Integers) -> Floats:
    """Return cumulative funding at moments."""
    funding = prepared.funding
    own = slice(funding.first[symbol], funding.first[symbol + 1])
    return funding.cumulative[own][np.searchsorted(funding.time[own], moments, side="right")]


def _held_at(
    kind: int, row: dict[str, Any], changes: pl.DataFrame | None, moment: int
) -> tuple[float, float, int]:
    """Return the quantity and average entry price of a trade at a moment, and since when they are so."""
    quantity, entry, since = row["quantity"], row["entry_price"], round(row["entry_time"].timestamp() * 1000)
    if changes is not None:
        known = changes.filter(pl.col("time").dt.epoch("ms") <= moment)
        for time, price, change in known.select("time", "price", "quantity_change").iter_rows():
            if change > 0:
                entry = formula.average_entry(kind, quantity, entry, change, price)
            quantity, since = quantity + change, round(time.timestamp() * 1000)
    return quantity, entry, since
