"""Evaluation of leverage policies: liquidations, losses and lost turnover of stated books in stated histories.

A grid is every combination of a cap on leverage, a factor on maintenance rates, named changes of other rules, a
fill, a liquidation fee, a fund and a procedure, each under three responses of traders to the cap. A *cell* needs
one sweep per response: one history, book, cap, factor, change and fill, with every fee, fund and procedure
settled from it (by a replay each, where the settlement is one). Rows are tidy: one per combination.

Freedom measures how much of the intended trading the rules leave: the share of the intended notional that is
opened, divided by the margin it requires over the intended margin, where that exceeds one. System loss is the
shortfall: losses beyond the margins of liquidated positions, paid by the fund or by counterparties through ADL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.notional import completed, entry_notional
from backtest.engine.sweep.admission import admissible, openable
from backtest.engine.sweep.sweep import sweep
from backtest.errors import DataError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.liquidations.exact_sums import weight
from backtest.study.policy.bands import Bands, share_bands
from backtest.study.policy.delays import delayed
from backtest.study.policy.grid import KEYS, Grid, History, Intended, Rules
from backtest.study.policy.responses import binds, restricted, under_cap
from backtest.study.policy.settlement import (
    FundPath,
    Run,
    Settled,
    Settlement,
    mean_of,
    require_fill,
    require_procedures,
)
from backtest.study.units import WEIGHT_UNIT, total, whole_units

FUND_PATH = FundPath()

#: Types of columns that a row alone does not decide: null where it says something, whole numbers among fractions.
TYPES: dict[str, Any] = {
    "rate_scale": pl.Float64,
    "fund": pl.Float64,
    "cap": pl.Float64,
    "liquidation_fee": pl.Float64,
    **dict.fromkeys((item.name for item in fields(Settled)), pl.Float64),
    "first_adl": pl.Datetime("ms", "UTC"),
}


@checked
def run(
    histories: Sequence[History],
    books: Mapping[str, Mapping[str, Book]],
    venue: Venue,
    grid: Grid,
    *,
    settlement: Settlement = FUND_PATH,
    bands: Bands | None = None,
    unit: float = 0.01,
    threads: int | None = None,
) -> pl.DataFrame:
    """Return every policy of a grid over every history and each of its books.

    Parameters
    ----------
    books : by history, then by name
    settlement, bands, unit, threads : as :func:`evaluate` takes them

    Examples
    --------
    >>> from backtest.study import policy
    >>> grid = policy.Grid(caps=(None, 20), fills=("worst_price",), responses=("same_size",))
    >>> found = policy.run([policy.History("May 2021", market)], {"May 2021": {"synthetic": book}}, venue, grid)
    >>> found.select("cap", "freedom", "liquidated_share")
    shape: (2, 3)
    ┌──────┬──────────┬──────────────────┐
    │ cap  ┆ freedom  ┆ liquidated_share │
    │ ---  ┆ ---      ┆ ---              │
    │ f64  ┆ f64      ┆ f64              │
    ╞══════╪══════════╪══════════════════╡
    │ null ┆ 1.0      ┆ 0.334            │
    │ 20.0 ┆ 0.994428 ┆ 0.241            │
    └──────┴──────────┴──────────────────┘
    """
    settings: dict[str, Any] = {"settlement": settlement, "bands": bands, "unit": unit, "threads": threads}
    frames = [
        evaluate(history, book, venue, rules=rules, grid=grid, **settings)
        for history in histories
        for book in [intended(name, book, history, venue, grid) for name, book in books[history.name].items()]
        for rules in grid.rules()
    ]
    return pl.concat(frames)


@checked
def intended(name: str, book: Book, history: History, venue: Venue, grid: Grid) -> Intended:
    """Return an intended book, and the part of it whose sizes and margins every rule of a grid admits.

    Examples
    --------
    >>> from backtest.study import policy
    >>> held = policy.intended("synthetic", book, policy.History("May 2021", market), venue, policy.Grid())
    >>> len(held.book), len(held.admitted)
    (1000, 1000)
    """
    if not len(book):
        raise DataError(f"book {name!r} holds no positions in {history.name!r}: a grid compares shares of them")
    least = under_cap(book, venue, 1.0, "same_size")  # no cap on leverage in the way
    kept = np.ones(len(book), np.bool_)
    for change, changes in grid.changes.items():
        strictest = Rules(None, max(grid.rate_scales), change, changes).applied(venue)
        kept &= admissible(least, history.market, strictest, history.conventions)
        kept &= openable(book, history.market, strictest, history.conventions)
    return Intended(name, book, book if kept.all() else restricted(book, book.positions.filter(pl.Series(kept))))


@checked
def evaluate(
    history: History,
    book: Intended,
    venue: Venue,
    *,
    rules: Rules,
    grid: Grid,
    settlement: Settlement = FUND_PATH,
    bands: Bands | None = None,
    unit: float = 0.01,
    threads: int | None = None,
) -> pl.DataFrame:
    """Return one cell of a grid: every response and terms under given rules.

    Parameters
    ----------
    history, book : prices, and the intended positions; the venue's own rules must allow their leverage
    settlement : turns outcomes into money
    bands : over calendar blocks of entry time, for the shares; none by default
    unit : amounts are rounded to it, in settlement currency

    Returns
    -------
    ``KEYS`` (``cap`` null: none; ``liquidation_fee`` null: the procedure's own), ``settlement`` (assumptions and
    limits of the amounts), ``bar_seconds`` (length of the bars), then

    - ``intended`` positions times weight, ``intended_notional``; of these ``opened_share`` by count,
      ``notional_kept`` and ``turnover_given_up`` by entry notional, ``margin_required`` (over the intended
      margin), ``freedom``, ``refused_share`` by count: larger than the changed tables admit;
    - ``liquidated`` (count) and ``liquidated_share`` of those opened, ``liquidated_notional`` at the entry and
      ``notional_share``, ``shortfall_share`` of the notional opened; with bands each has ``_low`` and ``_high``:
      all of the sweep, in which every position whose liquidation begins is fully closed, whatever the terms;
    - the fields of :class:`~backtest.study.policy.settlement.Settled`.

    Examples
    --------
    >>> from backtest.study import policy
    >>> history, grid = policy.History("May 2021", market), policy.Grid(fills=("worst_price",), funds=(0, 1_000))
    >>> held = policy.intended("synthetic", book, history, venue, grid)
    >>> found = policy.evaluate(history, held, venue, rules=grid.rules()[0], grid=grid)
    >>> found.filter(response="same_size").select(pl.col("fund", "shortfall", "deficit").round()).rows()
    [(0.0, 12705.0, 12705.0), (1000.0, 12705.0, 11705.0)]
    """
    applied = rules.applied(venue)
    trigger = history.conventions.trigger_series(applied)
    history.market.prices(trigger, "open")  # refuses a trigger price the bars do not have
    market = history.market.with_last_price() if rules.fill == "worst_price" else history.market
    binding = binds(book.admitted, venue, rules.cap)
    terms = grid.terms()
    require_procedures(settlement, terms)
    require_fill(settlement, rules.fill)
    rows: list[dict[str, Any]] = []
    last: tuple[dict[str, float], Sequence[Settled]] | None = None
    for response in grid.responses:
        if last is None or binding:
            opened = under_cap(book.admitted, venue, rules.cap, response)
            made = _swept(opened, market, applied, rules, history, unit, threads)
            runs = _delayed(made, grid, trigger) if rules.fill == "delayed" else [made]
            each_settled = zip(*(settlement.settle_each(one, terms) for one in runs), strict=True)
            totals = _mean([_totals(one, book, bands) for one in runs])
            last = totals, [mean_of(settled) for settled in each_settled]
        totals, settled = last
        keys = (history.name, book.name, rules.change, rules.cap, rules.rate_scale, rules.fill, response)
        for each, amounts in zip(terms, settled, strict=True):
            named = dict(zip(KEYS, (*keys, *asdict(each).values()), strict=True))
            bar = {"bar_seconds": float(history.market.intervals.max()) / 1000}
            rows.append({**named, "settlement": settlement.label, **bar, **totals, **asdict(amounts)})
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(last[0] if last else (), pl.Float64) | TYPES)


def _swept(
    book: Book, market: Market, venue: Venue, rules: Rules, history: History, unit: float, threads: int | None
) -> Run:
    conventions = history.conventions.with_(
        fill_price="last_extreme" if rules.fill == "worst_price" else "liquidation_price",
        stop_trigger=history.conventions.stop_series(history.market),
    )
    outcomes = sweep(book, market, venue, conventions=conventions, threads=threads)
    return Run(book, market, venue, outcomes, unit, conventions, threads)


def _delayed(run: Run, grid: Grid, trigger: str) -> list[Run]:
    """Return a run with its liquidations filled after the delay, one for each draw of paths."""
    return [
        replace(run, outcomes=delayed(run.outcomes, run.market, trigger, grid.delay, seed))
        for seed in range(grid.delay.draws)
    ]


def _mean(totals: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means by name."""
    if len(totals) == 1:
        return totals[0]
    return {name: float(np.mean([each[name] for each in totals])) for name in totals[0]}


def _totals(run: Run, intended: Intended, bands: Bands | None) -> dict[str, float]:
    """Return the intended, opened and liquidated amounts of a book."""
    books = (intended.book, intended.admitted, run.book)
    whole, admitted, opened = (_sums(book, run.venue, run.unit) for book in books)
    liquidated = _liquidated_sums(run)
    kept = _share(opened["notional"], whole["notional"])
    margin = _share(opened["margin"], whole["margin"])
    found = {
        "intended": whole["count"],
        "intended_notional": whole["notional"],
        "opened_share": _share(opened["count"], whole["count"]),
        "notional_kept": kept,
        "turnover_given_up": 1 - kept,
        "margin_required": margin,
        "freedom": kept / max(margin, 1.0),
        "refused_share": 1 - _share(admitted["count"], whole["count"]),
        "liquidated": liquidated["count"],
        "liquidated_share": _share(liquidated["count"], opened["count"]),
        "liquidated_notional": liquidated["notional"],
        "notional_share": _share(liquidated["notional"], liquidated["of_notional"]),
        "shortfall_share": _share(liquidated["shortfall"], liquidated["of_notional"]),
    }
    return found | ({} if bands is None else share_bands(run, intended.book, bands))


def _sums(book: Book, venue: Venue, unit: float) -> dict[str, float]:
    """Return count, entry notional and margin of positions."""
    contracts, positions = venue.contracts_of(book.symbols), book.positions
    notional = entry_notional(contracts)
    each = weight(positions)
    sums = completed(positions, contracts).lazy().with_columns(each).select(
        count=total(whole_units(pl.col("weight"), WEIGHT_UNIT)),
        notional=total(whole_units(notional * pl.col("weight"), unit)),
        margin=total(whole_units(pl.col("margin") * pl.col("weight"), unit)),
    ).collect()  # fmt: skip
    count, notional_units, margin_units = sums.row(0)
    return {"count": count * WEIGHT_UNIT, "notional": notional_units * unit, "margin": margin_units * unit}


def _liquidated_sums(run: Run) -> dict[str, float]:
    """Return what was liquidated, and the notional that all positions came to, additions included."""
    left = "surviving_weight" if "surviving_weight" in run.outcomes.columns else "weight"
    each = pl.col(left) if left in run.outcomes.columns else pl.lit(1.0)
    notional, gone = pl.col("entry_notional"), pl.col("liquidated")
    sums = run.outcomes.lazy().with_columns(weight(run.outcomes), left=each).select(
        count=total(whole_units(pl.col("left").filter(gone), WEIGHT_UNIT)),
        notional=total(whole_units((notional * pl.col("left")).filter(gone), run.unit)),
        of_notional=total(whole_units(notional * pl.col("weight"), run.unit)),
    ).collect()  # fmt: skip
    count, liquidated, whole = sums.row(0)
    shortfall = int(run.liquidated.shortfall.sum()) * run.unit
    return {
        "count": count * WEIGHT_UNIT,
        "notional": liquidated * run.unit,
        "of_notional": whole * run.unit,
        "shortfall": shortfall,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
