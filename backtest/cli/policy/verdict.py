"""The verdict of a grid: the highest cap that keeps a tolerance in every history and book."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from backtest.amounts import number, percentage
from backtest.chart.venues.policy import RESPONSE_WORDS, cap_name, cap_order
from backtest.cli.policy.results import FILL_WORDS, Tried, same

#: What may be tolerated: words, and the denominator.
TOLERATED: Mapping[str, str] = {
    "shortfall_per_million": "of shortfall per million of intended notional",
    "adl_per_million": "of shortfall that the fund does not pay, per million of intended notional",
    "liquidated_share": "of the positions opened liquidated",
}


def verdict(tried: Tried) -> Iterator[str]:
    """Yield, for each tolerance and response of traders, the highest cap that keeps it and what breaks it."""
    for measure, limit in tried.tolerance.items():
        if tried.fill == "liquidation_price" and not tried.replayed and measure != "liquidated_share":
            yield (
                f"{_limit(measure, limit)}: not judged. Filled at the liquidation price there is next to nothing "
                "of it by construction; try the fill delayed."
            )
            continue
        own = tried.base()
        where = "in the one history and book" if own.select("history", "book").n_unique() == 1 else (
            f"in each of {number(own.select('history', 'book').n_unique())} pairs of history and book"
        )  # fmt: skip
        parts = [
            f"{RESPONSE_WORDS[response]}: {_highest(own.filter(response=response), measure, limit)}"
            for response in tried.grid.responses
        ]
        terms = f" ({tried.terms})" if tried.terms else ""
        fill = "" if measure == "liquidated_share" else f", {FILL_WORDS[tried.fill]}{terms}"
        found = f"the highest cap that keeps it is, by what traders do, {'; '.join(parts)}"
        yield f"{_limit(measure, limit)}, {where}{fill}: {found}."


def _highest(own: pl.DataFrame, measure: str, limit: float) -> str:
    """Return the highest cap that keeps a limit, and where the next one breaks it."""
    broken, found, lower = None, None, []
    for cap in cap_order(own):
        rows = own.filter(same("cap", cap)).with_columns(pl.col(measure).fill_nan(None))
        worst = rows.sort(measure, descending=True, nulls_last=True).row(0, named=True)
        keeps = worst[measure] is None or worst[measure] <= limit
        if found is None and keeps:
            found = f"{_called(cap)}{_breaks(broken, measure)}"
        elif found is None:
            broken = worst
        elif not keeps:
            lower.append(worst)
    if found is None:
        return f"none of the grid{_breaks(broken, measure)}"
    return found + "".join(f", though a lower cap breaks it{_breaks(worst, measure)}" for worst in lower[:1])


def _called(cap: float | None) -> str:
    return "no cap at all" if cap is None else cap_name(cap)


def _breaks(worst: Mapping[str, object] | None, measure: str) -> str:
    if worst is None:
        return ""
    cap, amount = worst["cap"], worst[measure]
    assert isinstance(amount, float)
    named = "without a cap" if cap is None else f"with {cap_name(cap)}"  # type: ignore[arg-type]
    return f" ({named} it is {_amount(measure, amount)} in {worst['history']}, {worst['book']})"


def _limit(measure: str, limit: float) -> str:
    return f"Tolerance: at most {_amount(measure, limit)} {TOLERATED[measure]}"


def _amount(measure: str, amount: float) -> str:
    return f"{percentage(amount, 1)} %" if measure.endswith("share") else number(amount, 1)
