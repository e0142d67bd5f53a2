"""Leverage policy: what other rules would have done to stated books in stated histories, and what they cost.

A grid is every combination of a cap on leverage, a factor on maintenance rates, named changes of other rules, a
fill, a liquidation fee, a fund and a procedure, each under three responses of traders to the cap. A *cell* is what
one sweep a response can tell: one history, book, cap, factor, change and fill, with every fee, fund and procedure
settled from it (by a replay each, where the settlement is one). Rows are tidy: one a combination.

Freedom is what the rules leave of what traders wanted: the share of the wanted notional that is opened, divided by
how many times the wanted margin is asked for it, where it is more. System loss is the shortfall: what liquidated
positions lacked and somebody else paid, the fund or those deleveraged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.notional import entry_notional
from backtest.engine.sweep.admission import admissible
from backtest.engine.sweep.sweep import sweep
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.liquidations.flow import WEIGHT_UNIT, weight, whole_units
from backtest.study.policy.bands import Bands, share_bands
from backtest.study.policy.grid import KEYS, Grid, History, Rules, Wanted
from backtest.study.policy.responses import binds, restricted, under_cap
from backtest.study.policy.settlement import FundPath, Run, Settled, Settlement, require_procedures

FUND_PATH = FundPath()

#: Columns in which null says something, and what they are of otherwise.
NULLABLE: dict[str, Any] = {
    "cap": pl.Float64,
    "liquidation_fee": pl.Float64,
    "first_adl": pl.Datetime("ms", "UTC"),
    "begun": pl.Float64,
    "released": pl.Float64,
    "closed_notional": pl.Float64,
    "adl_notional": pl.Float64,
    "given_up": pl.Float64,
    "clawed_back": pl.Float64,
    "backstop": pl.Float64,
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
    """
    settings: dict[str, Any] = {"settlement": settlement, "bands": bands, "unit": unit, "threads": threads}
    frames = [
        evaluate(history, book, venue, rules=rules, grid=grid, **settings)
        for history in histories
        for book in [wanted(name, book, history, venue, grid) for name, book in books[history.name].items()]
        for rules in grid.rules()
    ]
    return pl.concat(frames)


@checked
def wanted(name: str, book: Book, history: History, venue: Venue, grid: Grid) -> Wanted:
    """Return a book with the part of it that every rule of a grid takes, by size."""
    least = under_cap(book, venue, 1.0, "same_size")  # no leverage stands in the way
    kept = np.ones(len(book), np.bool_)
    for change, changes in grid.changes.items():
        strictest = Rules(None, max(grid.rate_scales), change, changes).applied(venue)
        kept &= admissible(least, history.market, strictest, history.tiers)
    return Wanted(name, book, book if kept.all() else restricted(book, book.positions.filter(pl.Series(kept))))


@checked
def evaluate(
    history: History,
    book: Wanted,
    venue: Venue,
    *,
    rules: Rules,
    grid: Grid,
    settlement: Settlement = FUND_PATH,
    bands: Bands | None = None,
    unit: float = 0.01,
    threads: int | None = None,
) -> pl.DataFrame:
    """Return one cell of a grid: every response and terms under some rules.

    Parameters
    ----------
    history, book : what is lived through, and by whom: positions as they were wanted, whose leverage the venue's
        own rules must allow
    settlement : what turns outcomes into money
    bands : over calendar blocks of entry time, for the shares; none by default
    unit : of the settlement currency that amounts are rounded to

    Returns
    -------
    ``KEYS`` (``cap`` null: none; ``liquidation_fee`` null: the procedure's own), ``settlement`` (what the amounts
    rest on and leave out), then

    - ``wanted`` positions times weight, ``wanted_notional``; of these ``opened_share`` by count, ``notional_kept``
      and ``turnover_given_up`` by entry notional, ``margin_asked`` (over the wanted margin), ``freedom``,
      ``refused_share`` by count: larger than the changed tables take;
    - ``liquidated`` (count) and ``liquidated_share`` of those opened, ``liquidated_notional`` at the entry and
      ``notional_share``, ``shortfall_share`` of the notional opened; with bands each has ``_low`` and ``_high``:
      all of the sweep, in which every position whose liquidation begins is closed whole, whatever the terms;
    - the fields of :class:`~backtest.study.policy.settlement.Settled`.
    """
    applied = rules.applied(venue)
    history.market.prices(applied.trigger_price, "open")  # refuses a trigger the bars do not hold
    market = history.market if rules.fill == "liquidation_price" else history.market.with_last_price()
    binding = binds(book.admitted, venue, rules.cap)
    terms = grid.terms()
    require_procedures(settlement, terms)
    rows: list[dict[str, Any]] = []
    told: tuple[dict[str, float], Sequence[Settled]] | None = None
    for response in grid.responses:
        if told is None or binding:
            opened = under_cap(book.admitted, venue, rules.cap, response)
            made = _swept(opened, market, applied, rules, history, unit, threads)
            told = _totals(made, book, bands), settlement.settle_each(made, terms)
        totals, settled = told
        keys = (history.name, book.name, rules.change, rules.cap, rules.rate_scale, rules.fill, response)
        for each, amounts in zip(terms, settled, strict=True):
            named = dict(zip(KEYS, (*keys, *asdict(each).values()), strict=True))
            rows.append({**named, "settlement": settlement.label, **totals, **asdict(amounts)})
    return pl.DataFrame(rows, schema_overrides=NULLABLE)


def _swept(
    book: Book, market: Market, venue: Venue, rules: Rules, history: History, unit: float, threads: int | None
) -> Run:
    how: dict[str, Any] = {
        "tiers": history.tiers,
        "fill_price": "liquidation_price" if rules.fill == "liquidation_price" else "last_extreme",
        "stop_trigger": "last" if history.market.has("last") else "mark",
        "threads": threads,
    }
    return Run(book, market, venue, sweep(book, market, venue, **how), unit, **how)


def _totals(run: Run, wanted: Wanted, bands: Bands | None) -> dict[str, float]:
    """Return what was wanted, opened and liquidated of a book."""
    books = (wanted.book, wanted.admitted, run.book)
    asked, let_in, opened = (_sums(book, run.venue, run.unit) for book in books)
    gone = _liquidated_sums(run)
    kept = opened["notional"] / asked["notional"]
    margin = opened["margin"] / asked["margin"]
    found = {
        "wanted": asked["count"],
        "wanted_notional": asked["notional"],
        "opened_share": opened["count"] / asked["count"],
        "notional_kept": kept,
        "turnover_given_up": 1 - kept,
        "margin_asked": margin,
        "freedom": kept / max(margin, 1.0),
        "refused_share": 1 - let_in["count"] / asked["count"],
        "liquidated": gone["count"],
        "liquidated_share": _share(gone["count"], opened["count"]),
        "liquidated_notional": gone["notional"],
        "notional_share": _share(gone["notional"], opened["notional"]),
        "shortfall_share": _share(gone["shortfall"], opened["notional"]),
    }
    return found | ({} if bands is None else share_bands(run, wanted.book, bands))


def _sums(book: Book, venue: Venue, unit: float) -> dict[str, float]:
    """Return count, entry notional and margin of positions."""
    contracts, positions = venue.contracts_of(book.symbols), book.positions
    notional = entry_notional(contracts)
    margin = pl.col("margin") if "margin" in positions.columns else notional / pl.col("leverage")
    each = weight(positions)
    sums = positions.lazy().with_columns(each).select(
        count=whole_units(pl.col("weight"), WEIGHT_UNIT).sum(),
        notional=whole_units(notional * pl.col("weight"), unit).sum(),
        margin=whole_units(margin * pl.col("weight"), unit).sum(),
    ).collect()  # fmt: skip
    count, notional_units, margin_units = sums.row(0)
    return {"count": count * WEIGHT_UNIT, "notional": notional_units * unit, "margin": margin_units * unit}


def _liquidated_sums(run: Run) -> dict[str, float]:
    left = "surviving_weight" if "surviving_weight" in run.outcomes.columns else "weight"
    each = pl.col(left) if left in run.outcomes.columns else pl.lit(1.0)
    sums = run.outcomes.lazy().filter("liquidated").with_columns(left=each).select(
        count=whole_units(pl.col("left"), WEIGHT_UNIT).sum(),
        notional=whole_units(pl.col("entry_notional") * pl.col("left"), run.unit).sum(),
    ).collect()  # fmt: skip
    count, notional = sums.row(0)
    shortfall = int(run.liquidated.shortfall.sum()) * run.unit
    return {"count": count * WEIGHT_UNIT, "notional": notional * run.unit, "shortfall": shortfall}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
