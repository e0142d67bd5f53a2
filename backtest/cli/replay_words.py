"""A procedure in a sentence, and what it did to a book."""

from __future__ import annotations

import polars as pl

from backtest.chart.words import amount, percent
from backtest.cli.text import number
from backtest.engine.replay import Replay
from backtest.rules.procedure import Procedure

RANKS = {
    "profit_leverage": "the most profitable and leveraged first",
    "binance": "by Binance's score",
    "bitmex": "by BitMEX's score",
    "size": "the largest first",
    "random": "at random",
    "pro_rata": "everybody pro rata",
    "top_ten": "the ten largest pro rata",
    "water_filling": "the highest leverages lowered to one level",
}
PRICES = {"bankruptcy": "the bankruptcy price", "mark": "the mark", "takeover": "the takeover's price"}
TRIGGERS = {"fund_empty": "where the fund is empty", "fund_drop": "where the fund has fallen"}


def procedure_in_words(own: Procedure) -> str:
    """Return what happens to a liquidated position, in one sentence."""
    return f"{_steps(own)}; {_deleveraging(own)}"


def _steps(own: Procedure) -> str:
    last = "taken over" if own.last == "takeover" else "sold in the market"
    if own.step == "all":
        return f"one order for everything, what it leaves {last}"
    what = {
        "fraction": f"{percent(own.step_fraction)} of it",
        "tier": "one tier down" if own.tier_step == 1 else f"{own.tier_step:,} tiers down",
        "enough": "as much as is needed",
    }[own.step]
    how = "taken over" if own.slices == "takeover" else "sold"
    above = "the maintenance margin" if own.until == "maintenance" else "the initial margin"
    times = "once" if own.rounds == 1 else f"{number(own.rounds)} times"
    most = f", {times} at most" if own.rounds else ""
    from_ = f" (from {own.partial_from:,.10g} of notional)" if own.partial_from > 0 else ""
    return f"{what} {how} at a time{from_} until equity is above {above}{most}, then the rest {last}"


def _deleveraging(own: Procedure) -> str:
    if own.adl_trigger == "never":
        return "no deleveraging"
    trigger = TRIGGERS[own.adl_trigger]
    if own.adl_trigger == "fund_drop":
        trigger += f" {percent(own.adl_drop)} in {own.adl_hours:g} hours"
    return f"deleveraging {trigger}, {RANKS[own.adl_rank]}, at {PRICES[own.adl_price]}"


def done(found: Replay, currency: str) -> str:
    """Return how many positions the procedure touched, and where what it closed went."""
    closed = pl.col("filled_in_market") + pl.col("taken_over") > 0
    touched = found.outcomes.select(closed.sum()).item()
    sums = found.impact.select(pl.col("^(long|short)_(executed|taken_over|deleveraged)$").sum()).row(0, named=True)
    told = [
        f"{amount(sums[f'long_{name}'] + sums[f'short_{name}'], currency)} {words}"
        for name, words in (
            ("executed", "sold in the book"),
            ("taken_over", "taken over"),
            ("deleveraged", "passed on to counterparties"),
        )
    ]
    return f"The procedure closed all or a part of {number(touched)} positions: {', '.join(told)}."
