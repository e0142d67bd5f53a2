"""Precautions of holders, replayed: more margin, lower leverage, smaller size, stops that may fail.

Each precaution is a changed book, swept on the same prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.notional import completed
from backtest.engine.sweep.sweep import sweep
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import OPENED

COMPARED: dict[str, Any] = {
    "way": pl.String,
    **dict.fromkeys(("positions", "liquidated", "stopped"), pl.Int64),
    **dict.fromkeys(("liquidated_share", "margin", "realised_pnl", "lost_share"), pl.Float64),
}

__all__ = ["adding_margin", "compared", "lowering_leverage", "reducing", "stopped", "stopping"]
__dir__ = __all__.copy

Change = Callable[[Book, Venue], Book]


def adding_margin(share: float) -> Change:
    """Return the change of a book whose holders put in more margin from the start, a share of the first.

    Examples
    --------
    >>> from backtest.study import holders
    >>> change = holders.precautions.adding_margin(0.5)
    >>> holders.precautions.compared(book, market, venue, {"half as much again": change})["liquidated"].to_list()
    [334, 243]
    """

    def change(book: Book, venue: Venue) -> Book:
        whole = _completed(book, venue)
        return _with(book, whole.with_columns(margin=pl.col("margin") * (1 + share)))

    return change


def lowering_leverage(factor: float) -> Change:
    """Return the change of a book whose holders chose a leverage lower by a factor, on the same quantity.

    Examples
    --------
    >>> from backtest.study import holders
    >>> change = holders.precautions.lowering_leverage(2)
    >>> holders.precautions.compared(book, market, venue, {"half the leverage": change})["liquidated"].to_list()
    [334, 199]
    """

    def change(book: Book, venue: Venue) -> Book:
        lower = pl.max_horizontal(pl.col("leverage") / factor, pl.lit(1.0))
        margin = pl.col("margin") * pl.col("leverage") / lower
        return _with(
            book,
            _completed(book, venue).with_columns(margin=margin, leverage=lower),
        )

    return change


def reducing(share: float) -> Change:
    """Return the change of a book whose holders opened a smaller quantity, on the same margin.

    Examples
    --------
    >>> from backtest.study import holders
    >>> change = holders.precautions.reducing(0.5)
    >>> holders.precautions.compared(book, market, venue, {"half the size": change})["liquidated"].to_list()
    [334, 199]
    """

    def change(book: Book, venue: Venue) -> Book:
        return _with(
            book,
            _completed(book, venue).with_columns(quantity=pl.col("quantity") * (1 - share)),
        )

    return change


@checked
def stopping(prices: pl.Series) -> Change:
    """Return the change of a book whose holders set stops: one price a position, null for none.

    Examples
    --------
    >>> from backtest.study import holders
    >>> way = pl.when(pl.col("side") == "long").then(0.98).otherwise(1.02)
    >>> prices = book.positions.select(pl.col("entry_price") * way).to_series()
    >>> changes = {"stop at 2 %": holders.precautions.stopping(prices)}
    >>> holders.precautions.compared(book, market, venue, changes)["stopped"].to_list()
    [0, 471]
    """

    def change(book: Book, _: Venue) -> Book:
        return _with(book, book.positions.with_columns(stop_price=prices))

    return change


@checked
def compared(
    book: Book, market: Market, venue: Venue, changes: Mapping[str, Change], **options: Any
) -> pl.DataFrame:
    """Return the outcome of a book as it is and under each change, on the same prices.

    Returns
    -------
    A row a way, the book as it is first: ``way, positions`` (opened), ``liquidated, stopped`` (counts),
    ``liquidated_share``, ``margin`` (put in, sum), ``realised_pnl`` (of those that ended, sum), ``lost_share``:
    the sum of losses over the margin put in. NaN without margin.

    Examples
    --------
    >>> from backtest.study import holders
    >>> changes = {"half the leverage": holders.precautions.lowering_leverage(2)}
    >>> holders.precautions.compared(book, market, venue, changes).select("way", "liquidated_share")
    shape: (2, 2)
    ┌───────────────────┬──────────────────┐
    │ way               ┆ liquidated_share │
    │ ---               ┆ ---              │
    │ str               ┆ f64              │
    ╞═══════════════════╪══════════════════╡
    │ as it is          ┆ 0.334            │
    │ half the leverage ┆ 0.199            │
    └───────────────────┴──────────────────┘
    """
    rows = []
    for way, change in {"as it is": _same, **changes}.items():
        changed = change(book, venue)
        outcomes = sweep(changed, market, venue, **options).filter(OPENED)
        opened = pl.col("position_id").is_in(outcomes["position_id"].implode())
        margin = _completed(changed, venue).filter(opened)["margin"].sum()
        lost = outcomes.select(-pl.col("realised_pnl").clip(upper_bound=0.0).sum()).item()
        rows.append(
            {
                "way": way,
                "positions": outcomes.height,
                "liquidated": int(outcomes["liquidated"].sum()),
                "stopped": int((outcomes["outcome"] == "stopped").sum()),
                "liquidated_share": outcomes["liquidated"].sum() / max(outcomes.height, 1),
                "margin": float(margin),
                "realised_pnl": float(outcomes["realised_pnl"].sum()),
                "lost_share": lost / margin if margin else float("nan"),
            }
        )
    return pl.DataFrame(rows, schema=COMPARED)


@checked
def stopped(
    book: Book,
    market: Market,
    venue: Venue,
    *,
    distance: float,
    slippage: float = 0.0,
    failing: float = 0.0,
    rng: np.random.Generator,
    **options: Any,
) -> pl.DataFrame:
    """Return each position with a stop part of the way to its liquidation price, as intended and as it went.

    Parameters
    ----------
    distance
        Place of the stop: 0 at the entry, 1 at the liquidation price (at the entry, without funding).
    slippage
        How much worse a stop fills than the history's price for it, a fraction.
    failing
        Share of the stops that do nothing, drawn.
    rng
        Of that draw.

    Returns
    -------
    The positions' columns, ``stop_price`` (intended), ``failed`` (bool), ``outcome,
    outcome_time`` with the stop, ``fill_price`` (filled), ``realised_pnl``, and ``outcome_without,
    realised_pnl_without``. Where no positive price liquidates there is no stop (null).

    Examples
    --------
    >>> from backtest.study import holders
    >>> rng = np.random.default_rng(1)
    >>> found = holders.precautions.stopped(book, market, venue, distance=0.5, failing=0.1, rng=rng)
    >>> found["outcome"].value_counts(sort=True).rows()
    [('exited', 494), ('stopped', 417), ('open', 56), ('liquidated', 33)]
    """
    for name, value, top in (
        ("distance", distance, 1.0),
        ("failing", failing, 1.0 + 1e-12),
        ("slippage", slippage, 1.0),
    ):
        if not 0 <= value < top:
            raise ArgumentError(f"must lie between 0 and 1, is {value!r}", argument=name)
    if options.get("leverage_limit") == "filter":
        raise ArgumentError(
            "must not be filter: every position needs its outcome without the stop", argument="leverage_limit"
        )
    plain = _with(book, book.positions.drop("stop_price", strict=False))
    bare = sweep(plain, market, venue, **options)
    reached = _liquidation_prices(plain, market, venue, options)
    entry = book.positions["entry_price"]
    intended = (entry + distance * (reached - entry)).alias("stop_price")
    intended = pl.select(pl.when((intended > 0) & (intended != entry)).then(intended)).to_series()
    failed = pl.Series(rng.random(len(book)) < failing) & intended.is_not_null()
    working = pl.select(pl.when(~failed).then(intended)).to_series()
    outcomes = sweep(stopping(working)(plain, venue), market, venue, **options)
    worse = 1 - slippage * pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
    is_stopped = pl.col("outcome") == "stopped"
    slipped = pl.when(is_stopped).then(pl.col("fill_price") * worse).otherwise("fill_price")
    cost = pl.when(is_stopped).then((pl.col("fill_price") - slipped).abs() * _per_price()).otherwise(0.0)
    return outcomes.with_columns(
        realised_pnl=pl.col("realised_pnl") - cost, fill_price=slipped, stop_price=intended, failed=failed
    ).select(
        *plain.positions.columns,
        "stop_price",
        "failed",
        "outcome",
        "outcome_time",
        "fill_price",
        "realised_pnl",
        outcome_without=bare["outcome"],
        realised_pnl_without=bare["realised_pnl"],
    )


def _same(book: Book, _: Venue) -> Book:
    return book


def _with(book: Book, positions: pl.DataFrame) -> Book:
    changes = book.adjustments
    own = (
        None
        if changes is None
        else changes.select("position_id", "time", "margin_change", "quantity_change", "price")
    )
    return Book(positions, own, book.assumptions, book.survival)


def _completed(book: Book, venue: Venue) -> pl.DataFrame:
    return completed(book.positions, venue.contracts_of(book.symbols))


def _liquidation_prices(book: Book, market: Market, venue: Venue, options: Mapping[str, Any]) -> pl.Series:
    """Return the liquidation prices at the entry, before any funding, by a sweep without funding."""
    return sweep(book, market.without_funding(), venue, **options)["liquidation_price"]


def _per_price() -> pl.Expr:
    """Return what one unit of price is worth to a position; inverse contracts are worth less at a higher price."""
    quantity = pl.col("quantity")
    per_coin = quantity / (pl.col("fill_price") * pl.col("fill_price"))
    return pl.when(pl.col("contract_kind") == "inverse").then(per_coin).otherwise(quantity)
