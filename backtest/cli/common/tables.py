"""Tables and sentences of ``backtest run``: by period, heaviest hours, cascades, two triggers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from backtest.amounts import (
    amount,
    currency_name,
    day,
    duration,
    number,
    percent,
    percentage,
    percentage_decimals,
    plural,
    timestamp,
)
from backtest.cli.common.swept import HEAVY_QUANTILE, Swept, Totalled
from backtest.cli.common.text import paragraph, table
from backtest.errors import DataError
from backtest.study.liquidations import flow, tails

HEAVIEST = 10
HALF = 0.5
#: Length of the heaviest run of hours.
HOURS = 3
#: Cascades that are printed.
LARGEST = 5
#: Amounts are printed in the largest unit that leaves two figures before the point.
SCALES = ((1e9, " bn"), (1e6, " m"), (1e3, " k"))


def by_period(swept: Swept) -> str:
    """Return the liquidated flow of each day (week, month) and of the whole window."""
    every, word = swept.period
    rows = swept.with_shares(swept.flow(every), every)
    size, money = _scale(swept, rows)
    header = [f"{word}\n(UTC)", *_headings(swept, money)]
    total = rows.sum().row(0, named=True)
    if swept.knows_open:  # shares of what was open at different times do not add up
        total |= {name: None for name in rows.columns if "share" in name}
    named = [(_period(row["time"], word), row) for row in rows.iter_rows(named=True)]
    fine = percentage_decimals(_largest(rows["share"]))
    lines = [
        [name, *_cells(swept, row, size, fine), *_new(swept, row, fine)] for name, row in [*named, ("all", total)]
    ]
    if not swept.knows_open:
        return table(header, lines)
    legend = (
        f"% of open: of the notional of the side that was open when the {word} began; new: the part of it that "
        f"was opened within the {word}."
    )
    header += ["longs new\n% of open", "shorts new\n% of open"]
    return f"{table(header, lines)}\n{paragraph(legend)}"


def heaviest_hours(swept: Swept) -> str:
    """Return the heaviest hours, heaviest first, with the share of the largest position in each."""
    largest = flow.concentration(swept.outcomes, unit=swept.unit)
    rows = flow.heaviest(swept.hourly, HEAVIEST, _measure(swept)).join(
        largest, on="time", how="left", maintain_order="left"
    )
    rows = swept.with_shares(rows, "1h")
    size, money = _scale(swept, rows)
    header = ["rank", "hour from\n(UTC)", *_headings(swept, money), "largest\nposition, %"]
    fine = percentage_decimals(_largest(rows["share"]))
    lines = [
        [
            f"{row['rank']}",
            timestamp(row["time"]),
            *_cells(swept, row, size, fine),
            percentage(row["largest_share"], 0),
        ]
        for row in rows.iter_rows(named=True)
    ]
    alone = int((rows["largest_share"] > HALF).sum())
    weighted = swept.book.survival is not None or "weight" in swept.outcomes.columns
    one = "row of the book" if weighted else "position"
    warning = (
        f"In {alone} of these {plural(rows.height, 'hour')} a single {one} is more than half of the "
        f"amount: ranks by "
        "amount then depend on the book more than on the market."
    )
    return table(header, lines, left=0) + (f"\n{paragraph(warning)}" if alone else "")


def heaviest_by_count(swept: Swept) -> str:
    """Return the hour with the most liquidated positions in a sentence; no single large one decides it."""
    rows = flow.heaviest(swept.hourly, 1, "count")
    if rows.is_empty():
        return ""
    row = rows.row(0, named=True)
    place = flow.ranks(swept.hourly, measure=_measure(swept)).filter(pl.col("time") == row["time"])["rank"][0]
    return (
        f"Hour with the most positions liquidated: {timestamp(row['time'])}, {number(row['count'])} of them "
        f"({percentage(row['count'] / swept.totals['positions'])} %), rank {number(place)} by amount."
    )


def heaviest_run(swept: Swept) -> str:
    """Return the heaviest consecutive hours in a sentence; nothing where nothing was liquidated."""
    runs = flow.run_ranks(swept.hourly, HOURS, _measure(swept)).filter(pl.col("rank") == 1)
    if runs.is_empty():
        return ""
    row = runs.row(0, named=True)
    until = row["last"] + timedelta(minutes=59)
    return (
        f"Heaviest {HOURS} hours in a row: {timestamp(row['start'])} to {until:%H:%M}, "
        f"{percentage(row['share'])} % of {_whole(swept)} ({amount(row['notional'], swept.currency)})."
    )


def cascades(swept: Swept) -> str:
    """Return the largest cascades, their definition, and the tail of their sizes."""
    found = swept.cascades
    rows = found.sort("notional", descending=True).head(LARGEST)
    size, money = _scale(swept, rows)
    size_words = "% of book" if swept.synthetic else money
    book = swept.totals["book_notional"]
    header = [
        "from\n(UTC)",
        "symbol",
        "lasted",
        f"liquidated\n{size_words}",
        "longs\n%",
        "price\nmove, %",
        "lowest\nmove, %",
    ]
    lines = [
        [
            timestamp(row["start"]),
            row["symbol"],
            duration(row["duration"]),
            percentage(row["notional"] / book) if swept.synthetic else number(row["notional"] / size, 1),
            percentage(row["long_share"], 0),
            percentage(row["price_move"], 1),
            percentage(row["lowest_move"], 1),
        ]
        for row in rows.iter_rows(named=True)
    ]
    counted = f"{plural(found.height, 'cascade')}: runs of consecutive intervals of {duration(swept.cascade_bar)}"
    heavy = f"each among the heaviest {percent(1 - HEAVY_QUANTILE)} of its symbol's intervals with any liquidation"
    return f"{table(header, lines, left=2)}\n{paragraph(f'{counted}, {heavy}.{_tail(swept)}')}"


def triggers(swept: Mapping[str, Swept]) -> str:
    """Return one book under several trigger prices, side by side."""
    one = next(iter(swept.values()))
    amounts = [each.totals["liquidated_notional"] for each in swept.values()]
    size, money = _scale(one, pl.DataFrame({"notional": amounts}))
    header = [
        "trigger",
        "liquidated\n% of all opened" if one.knows_open else "liquidated\n% of book",
        "positions\n%",
        f"liquidated\n{money}",
        "longs\n%",
        "shortfall\n" + money,
        "heaviest hour\n(UTC)",
    ]
    lines = []
    for name, each in swept.items():
        top = flow.heaviest(each.hourly, 1)
        lines.append(
            [
                f"{name} price",
                percentage(each.totals["notional_share"]),
                percentage(each.totals["liquidated_share"]),
                number(each.totals["liquidated_notional"] / size, 1),
                percentage(each.totals["long_part" if each.synthetic else "long_share"], 1),
                number(each.totals["shortfall"] / size, 1),
                timestamp(top["time"][0]) if top.height else "-",
            ]
        )
    return table(header, lines)


def headline(swept: Totalled) -> str:
    """Return the result in a sentence or two."""
    totals = swept.totals
    if not totals["liquidated"]:
        return f"None of {plural(totals['positions'], 'position')} was liquidated.{_range(totals)}"
    money = amount(totals["liquidated_notional"], swept.currency)
    opened = "everything ever opened" if _knows_open(swept) else "the book's entry notional"
    of_notional = f"{percentage(totals['notional_share'])} % of {opened}"
    of_positions = f"{percentage(totals['liquidated_share'])} % of its positions"
    if swept.synthetic:
        longs = f"{percentage(totals['long_part'], 1)} % of it longs"
        return (
            f"Liquidated: {of_notional} ({longs}), {of_positions}.{_range(totals)} The book is synthetic: read "
            f"shares, not amounts ({money})."
        )
    longs = f"{percentage(totals['long_share'], 1)} % of it longs"
    return f"Liquidated: {money}, {longs}; {of_notional}, {of_positions}.{_range(totals)}"


def _knows_open(swept: Totalled) -> bool:
    return isinstance(swept, Swept) and swept.knows_open


def _whole(swept: Swept) -> str:
    return "everything ever opened" if swept.knows_open else "the book"


def _range(totals: dict[str, Any]) -> str:
    """Return how many positions were certainly and how many possibly liquidated; nothing where these are equal."""
    least, most = totals["certainly_liquidated"], totals["possibly_liquidated"]
    if least == most:
        return ""
    return (
        f" {number(least)} to {number(most)} of {plural(totals['positions'], 'position')} were liquidated, by "
        "what bars hide of entries, exits and the order of prices."
    )


def caveats(swept: Totalled) -> str:
    """Return how many positions have an uncertain outcome or were left out, or nothing."""
    counts = {
        "rejected: margin below the maintenance margin at the entry": swept.totals["rejected"],
        "ended unknown, across a long gap": swept.totals["unknown"],
        "ambiguous: what a bar hides decides the outcome": swept.totals["ambiguous"],
        "left out: leverage above the limit": swept.left_out,
    }
    found = [f"{plural(count, 'position')} {what}" for what, count in counts.items() if count]
    return f"{'; '.join(found)}." if found else ""


def counts(swept: Totalled) -> str:
    """Return the number of positions by outcome."""
    rows = flow.tally(swept.outcomes)
    lines = [
        [row["outcome"], number(row["count"]), percentage(row["share"])] for row in rows.iter_rows(named=True)
    ]
    return table(["outcome", "positions", "%"], lines)


def _tail(swept: Swept) -> str:
    """Return the tail exponent of cascade sizes, or nothing where there are too few."""
    try:
        tail = tails.fit(swept.cascades["notional"])
    except DataError:
        return ""
    least = amount(tail.least_size, swept.currency)
    return (
        f" Their sizes: tail exponent {tail.exponent:.2f} ± {tail.standard_error:.2f} from {least} on "
        f"({tail.tail_count:,} of {tail.count:,} cascades; the standard error assumes independent sizes, so "
        f"it is too "
        "small)."
    )


def _period(start: datetime, word: str) -> str:
    return f"{start:%Y-%m}" if word == "month" else day(start)


def _headings(swept: Swept, money: str) -> list[str]:
    of = "% of open" if swept.knows_open else "% of book"
    share = [f"liquidated\n{of}", f"longs\n{of}", f"shorts\n{of}"]
    amounts = [f"longs\n{money}", f"shorts\n{money}"]
    positions = ["longs\npositions", "shorts\npositions"]
    return [*share, *amounts, *positions] if swept.synthetic else [*amounts, *positions, *share]


def _cells(swept: Swept, row: Mapping[str, Any], size: float, fine: int) -> list[str]:
    share = [_share(row[name], fine) for name in ("share", "long_share", "short_share")]
    amounts = [number(row[name] / size, 1) for name in ("long_notional", "short_notional")]
    positions = [number(row[name]) for name in ("long_count", "short_count")]
    return [*share, *amounts, *positions] if swept.synthetic else [*amounts, *positions, *share]


def _new(swept: Swept, row: Mapping[str, Any], decimals: int) -> list[str]:
    """Return the shares of each side that were opened within the interval, of a book that knows what was open."""
    return [_share(row[f"{side}_share_new"], decimals) for side in ("long", "short")] if swept.knows_open else []


def _share(value: float | None, decimals: int) -> str:
    """Return a share; a dash where nothing was open, or where there is no one share."""
    return percentage(None if value is None or value != value else value, decimals)


def _largest(shares: pl.Series) -> float:
    """Return the largest share; 0 of none."""
    return max(shares.drop_nulls().drop_nans().to_list(), default=0.0)


def _scale(swept: Swept, rows: pl.DataFrame) -> tuple[float, str]:
    """Return the divisor of amounts and their unit."""
    largest = max(rows["notional"].to_list(), default=0.0)
    size, unit = next(((size, unit) for size, unit in SCALES if largest >= 10 * size), (1.0, ""))
    return size, f"{currency_name(swept.currency)}{unit}"


def _measure(swept: Swept) -> str:
    """Return the measure that ranks intervals: shares where the book is synthetic."""
    return "share" if swept.synthetic else "notional"
