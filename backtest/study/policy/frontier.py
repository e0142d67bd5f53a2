"""Comparison of policies: dominated ones, spread over books, and laws that held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas.arguments import checked
from backtest.study.policy.grid import KEYS
from backtest.study.policy.settlement import FundPath

__all__ = ["LAWS", "frontier", "laws", "per_million", "spread"]
__dir__ = __all__.copy

#: Columns within which a frontier is drawn. Histories, books, fills and traders' responses are not the venue's
#: choice; other rules, rates, fees, funds and procedures change the shortfall in ways freedom does not measure.
WITHIN = (
    "history", "book", "fill", "response", "change", "rate_scale", "liquidation_fee", "fund", "procedure",
)  # fmt: skip


#: Amounts that :func:`per_million` scales, and the names it gives them.
AMOUNTS = {
    "shortfall": "shortfall_per_million",
    "traders_losses": "losses_per_million",
    "returned": "returned_per_million",
    "fees": "fees_per_million",
    "begun_fees": "begun_fees_per_million",
    "kept": "kept_per_million",
    "fund_lowest": "fund_lowest_per_million",
    "fund_end": "fund_end_per_million",
    "adl": "adl_per_million",
    "deficit": "deficit_per_million",
    "closed_notional": "closed_per_million",
    "adl_notional": "adl_notional_per_million",
    "given_up": "given_up_per_million",
    "clawed_back": "clawed_back_per_million",
    "backstop": "backstop_per_million",
}


@checked
def per_million(policies: pl.DataFrame) -> pl.DataFrame:
    """Return policies with every amount per million of intended notional, the scale to read synthetic books in.

    Examples
    --------
    >>> from backtest.study import policy
    >>> few = policy.Grid(fills=("worst_price",), responses=("same_size",))
    >>> found = policy.run([policy.History("May 2021", market)], {"May 2021": {"synthetic": book}}, venue, few)
    >>> round(policy.frontier.per_million(found)["shortfall_per_million"][0])
    438
    """
    each = pl.col("intended_notional") / 1e6
    return policies.with_columns((pl.col(amount) / each).alias(name) for amount, name in AMOUNTS.items())


@checked
def frontier(
    policies: pl.DataFrame,
    *,
    freedom: str = "freedom",
    loss: str = "shortfall",
    within: Sequence[str] = WITHIN,
) -> pl.DataFrame:
    """Return policies marked as dominated: another one leaves more freedom for no more loss, or as much for less.

    Parameters
    ----------
    freedom, loss : columns to maximise and to minimise
    within : policies are compared only where these columns are equal

    Returns
    -------
    The policies, in the order given, with ``dominated``. Equal policies do not dominate one another.

    Examples
    --------
    >>> from backtest.study import policy
    >>> few = policy.Grid(caps=(None, 20, 5), fills=("worst_price",), responses=("same_size",))
    >>> found = policy.run([policy.History("May 2021", market)], {"May 2021": {"synthetic": book}}, venue, few)
    >>> policy.frontier.frontier(found).select("cap", "dominated").rows()
    [(None, False), (20.0, True), (5.0, False)]
    """
    missing = [name for name in (freedom, loss, *within) if name not in policies.columns]
    if missing:
        raise ArgumentError(f"frontier: policies have no column {', '.join(missing)}")
    parts = policies.with_row_index("row").partition_by(within, maintain_order=True)
    marked = [part.with_columns(dominated=_dominated(part[freedom], part[loss])) for part in parts]
    return pl.concat(marked).sort("row").drop("row")


def _dominated(freedom: pl.Series, loss: pl.Series) -> pl.Series:
    """Return whether each policy is dominated by another: the definition, pair by pair."""
    free, lost = freedom.to_numpy(), loss.to_numpy()
    no_worse = (free >= free[:, None]) & (lost <= lost[:, None])
    better = (free > free[:, None]) | (lost < lost[:, None])
    return pl.Series((no_worse & better).any(axis=1))


@checked
def spread(policies: pl.DataFrame, values: Sequence[str], *, over: Sequence[str] = ("book",)) -> pl.DataFrame:
    """Return the lowest, median and highest of chosen values of each policy over books or histories.

    Returns
    -------
    ``KEYS`` without those in ``over``, ``cases`` (their number), and for each value ``_low``, the median under its
    own name, and ``_high``.

    Examples
    --------
    >>> from backtest.study import policy
    >>> few = policy.Grid(fills=("worst_price",), responses=("same_size",))
    >>> books = {"May 2021": {"synthetic": book, "every second": type(book)(book.positions[::2])}}
    >>> found = policy.run([policy.History("May 2021", market)], books, venue, few)
    >>> policy.frontier.spread(found, ["liquidated_share"]).columns[-4:]
    ['cases', 'liquidated_share_low', 'liquidated_share', 'liquidated_share_high']
    """
    keys = [name for name in KEYS if name not in over]
    sums: dict[str, pl.Expr] = {}
    for name in values:
        sums |= {
            f"{name}_low": pl.col(name).min(),
            name: pl.col(name).median(),
            f"{name}_high": pl.col(name).max(),
        }
    return policies.group_by(keys, maintain_order=True).agg(cases=pl.len(), **sums)


@dataclass(frozen=True)
class Law:
    """A value that may only rise (or fall) along an axis, everything else being equal."""

    axis: str
    value: str
    rises: bool
    holds: bool  #: proven; the others are rules of thumb, counted to see where they break
    sentence: str
    swept: bool = False  #: whether it concerns the sweep alone, whatever the settlement


#: Amounts that differ by less, as a fraction, differ only by rounding.
EQUAL = 1e-9

TESTED = {
    "sentence": pl.String,
    "holds": pl.Boolean,
    "compared": pl.Int64,
    "broken": pl.Int64,
    "largest": pl.Float64,
}

LAWS = (
    Law("cap", "liquidated", True, True, "a higher cap never liquidates fewer positions", True),
    Law("cap", "liquidated_notional", True, True, "a higher cap never liquidates less notional", True),
    Law("rate_scale", "liquidated", True, True, "higher maintenance rates never liquidate fewer positions", True),
    Law("fund", "adl", False, True, "a larger fund never leaves more for ADL"),
    Law("fund", "adl_notional", False, False, "a larger fund never means more notional closed by ADL"),
    Law("fund", "first_adl", True, True, "a larger fund never makes ADL begin earlier"),
    Law("liquidation_fee", "adl", False, True, "a higher fee never leaves more for ADL"),
    Law("cap", "shortfall", True, False, "a higher cap never means a smaller shortfall"),
    Law("cap", "traders_losses", True, False, "a higher cap never means smaller losses of the liquidated"),
    Law("rate_scale", "shortfall", False, False, "higher maintenance rates never mean a larger shortfall"),
)


@checked
def laws(policies: pl.DataFrame) -> pl.DataFrame:
    """Return how often each law was tested by neighbouring values of its axis, and how often it was broken.

    Returns
    -------
    ``sentence``, ``holds`` (whether it must hold: laws of the sweep always, laws of amounts under the fund path,
    not under a replay), ``compared``, ``broken``, and ``largest``, the largest breach as a fraction of the
    neighbouring value (null where none, or a time).

    Examples
    --------
    >>> from backtest.study import policy
    >>> few = policy.Grid(caps=(None, 20, 5), fills=("worst_price",), responses=("same_size",))
    >>> found = policy.run([policy.History("May 2021", market)], {"May 2021": {"synthetic": book}}, venue, few)
    >>> policy.frontier.laws(found).filter("holds")["broken"].sum()
    0
    """
    return pl.DataFrame([_tested(policies, law) for law in LAWS], schema=TESTED)


def _tested(policies: pl.DataFrame, law: Law) -> dict[str, object]:
    simple = policies.is_empty() or policies["settlement"].unique().to_list() == [FundPath().label]
    others = [name for name in KEYS if name != law.axis]
    if law.axis == "liquidation_fee":  # one procedure's own is neither higher nor lower than another's
        policies = policies.filter(pl.col(law.axis).is_not_null())
    place = pl.col(law.axis).fill_null(float("inf")) if law.axis == "cap" else pl.col(law.axis)
    value = pl.col(law.value)
    if law.value == "first_adl":  # never is later than any time
        value = value.dt.epoch("ms").fill_null(2**62)
    frame = policies.with_columns(place=place, value=value).sort(*others, "place")
    before = pl.col("value").shift(1).over(others)
    breach = (before - pl.col("value")) if law.rises else (pl.col("value") - before)
    pairs = frame.select(before=before, breach=breach).drop_nulls()
    slack = 0 if law.value == "first_adl" else EQUAL * pl.col("before").abs()
    broken = pairs.filter(pl.col("breach") > slack)
    largest = None
    if broken.height and law.value != "first_adl":
        largest = broken.select((pl.col("breach") / pl.col("before")).max()).item()
    return {
        "sentence": law.sentence,
        "holds": law.holds and (law.swept or simple),
        "compared": pairs.height,
        "broken": broken.height,
        "largest": largest,
    }
