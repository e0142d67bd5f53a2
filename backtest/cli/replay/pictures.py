"""Charts of ``backtest replay``: the fund, who bore the losses, the mark with and without liquidations."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from backtest.amounts import Share, amount, days, percentage, signed, three_figures
from backtest.cli.common import assumptions, charts, picture
from backtest.cli.common.outputs import Outputs
from backtest.cli.common.swept import Swept
from backtest.engine.replay.replay import Replay
from backtest.study.fund.loss_waterfall import who_bore

#: Names of the bearers of losses beyond margins in a sentence.
BORE = {
    "fund": "the insurance fund",
    "backstop": "the backstop",
    "counterparties": "counterparties hit by ADL",
    "clawback": "profits of others",
}


def draw(found: Replay, swept: Swept, files: Outputs, options: Namespace) -> None:
    """Draw the fund through time and who bore the losses, and the moved mark of every symbol where it is moved."""
    charts.save(files, "fund", partial(fund, found, swept, options), options)
    charts.save(files, "losses", partial(losses, found, swept, options), options)
    if "html" in options.formats:
        page = charts.paged(explored(found, swept, options), options)
        files.path("replay.html").write_text(page, "utf-8")
    if options.mark_impact:
        for symbol in swept.market.symbols:
            charts.save(files, f"mark_{symbol}", partial(moved_mark, found, swept, options, symbol), options)


def explored(found: Replay, swept: Swept, options: Namespace) -> Any:
    """Return the page that explores the replay."""
    from backtest.chart.venues.pages import replay_page

    return replay_page(
        found, swept.market, title=fund_finding(found, swept), subtitle=_subject("Replay", found, swept),
        currency=None if swept.synthetic else swept.currency, look=options.look, colours=options.colours,
        timezone=options.timezone, notes=_notes(found.notes, swept, options),
    )  # fmt: skip


def fund(found: Replay, swept: Swept, options: Namespace) -> Any:
    """Return the chart of the fund."""
    from backtest.chart.venues.fund import fund_figure
    from backtest.study.fund.insurance import fund_flow

    return fund_figure(
        found.fund, fund_flow(found.fund), swept.window, title=fund_finding(found, swept),
        subtitle=_subject("Insurance fund", found, swept), notes=_notes(found.notes, swept, options),
        currency=_money(swept), **charts.dress(options),
    )  # fmt: skip


def losses(found: Replay, swept: Swept, options: Namespace) -> Any:
    """Return the chart of who bore the losses."""
    from backtest.chart.venues.loss_waterfall import waterfall_figure

    return waterfall_figure(
        who_bore(found), title=loss_finding(who_bore(found)),
        subtitle=_subject("Losses of liquidated positions", found, swept),
        notes=_notes(found.notes, swept, options), currency=losses_in(found, swept),
        **charts.dress(options, timed=False, fixed=False),
    )  # fmt: skip


def moved_mark(found: Replay, swept: Swept, options: Namespace, symbol: str) -> Any:
    """Return the history of a symbol against the mark moved by liquidations."""
    impact = found.impact.filter(pl.col("symbol") == symbol)
    return mark_figure(
        swept, options, symbol, impact, found.notes,
        title=f"Its liquidations moved the mark of {symbol} by {furthest(impact)} at most",
        subtitle=f"{symbol} with and without its liquidations, {days(*swept.window)}",
    )  # fmt: skip


def mark_figure(
    swept: Swept, options: Namespace, symbol: str, impact: pl.DataFrame, limits: Any, **words: Any
) -> Any:
    """Return a chart of a history and a moved mark; ``limits`` are the notes of the replay."""
    from backtest.chart.venues.moved_mark import moved_mark_figure

    return moved_mark_figure(
        swept.market.bars.filter(pl.col("symbol") == symbol), impact, swept.window,
        unit=assumptions.quote(symbol, swept.currency), currency=_money(swept),
        notes=_notes(limits, swept, options), **words, **charts.dress(options),
    )  # fmt: skip


def furthest(impact: pl.DataFrame) -> str:
    """Return the largest distance of the moved mark from the history, signed."""
    moved = np.expm1(impact["offset"].to_numpy())
    most = float(moved[np.abs(moved).argmax()]) if moved.size else 0.0
    return f"{signed(100 * most, '+.2f')} %" if most else "0 %"


def fund_finding(found: Replay, swept: Swept) -> str:
    """Return the course of the fund in a sentence, in shares of its beginning where it had any."""
    path = found.fund["fund"]
    start, lowest, last = float(path[0]), float(path.min() or 0.0), float(path[-1])  # type: ignore[arg-type]
    if start <= 0:
        if last <= 0:
            return "There was no insurance fund"
        return "The insurance fund began empty" + (
            "" if swept.synthetic else f" and ended with {amount(last, swept.currency)}"
        )
    if lowest <= 0:
        return "The insurance fund was emptied"
    if lowest < 0.995 * start:
        return f"The insurance fund fell to {percentage(lowest / start, 0)} % of its beginning"
    if last > 1.005 * start:
        times = last / start
        grown = f"{percentage(times, 0)} % of" if times < 3 else f"{three_figures(times)} times"
        return f"The insurance fund grew to {grown} its beginning"
    return "The insurance fund was hardly drawn on"


def loss_finding(bearers: pl.DataFrame) -> str:
    """Return who bore which share of all losses, the holders first, then the largest of the others."""
    lost = {row["bearer"]: max(row["amount"], 0.0) for row in bearers.iter_rows(named=True)}
    total = sum(lost.values())
    if not total:
        return "Nobody lost to liquidations"
    others = {name: value for name, value in lost.items() if name != "margins" and value}
    if not others:
        return "All losses fell on holders' margins"
    first = f"{_share(lost.get('margins', 0.0) / total)} of the losses fell on holders' margins"
    largest = max(others, key=lambda name: others[name])
    where = "stayed uncovered" if largest == "nobody" else f"on {BORE[largest]}"
    return f"{first}, {_share(others[largest] / total)} {where}"


def _share(part: float) -> str:
    """Return a share of losses: of nearly all and of nearly nothing as many digits as say so."""
    decimals = 0 if 0.01 <= part <= 0.99 or part == 0 or part >= 1 else 2
    return f"{percentage(part, decimals)} %"


def _money(swept: Swept) -> str | Share:
    """Return the currency of given positions; of a synthetic book shares of the notional that was opened."""
    if not swept.synthetic:
        return swept.currency
    return Share(float(swept.outcomes["entry_notional"].sum()) or 1.0, "the notional opened")


def losses_in(found: Replay, swept: Swept) -> str | Share:
    """Return the currency of given positions; of a synthetic book shares of all losses."""
    if not swept.synthetic:
        return swept.currency
    return Share(float(who_bore(found)["amount"].clip(lower_bound=0.0).sum()) or 1.0, "all losses")


def _subject(name: str, found: Replay, swept: Swept) -> str:
    of = " of a synthetic book" if swept.synthetic else ""
    return f"{name}{of}, {swept.venue.title}, {days(*swept.window)}: {_beyond_margins(found, swept)}"


def _notes(limits: Any, swept: Swept, options: Namespace) -> list[str]:
    """Return the footer: sources of prices and positions, limits of the replay, the caption."""
    return charts.notes(options, [*picture.sources(swept), *limits])


def _beyond_margins(found: Replay, swept: Swept) -> str:
    """Return gains and losses beyond the positions' margins in a sentence: money, of synthetic books shares."""
    losses = {row["bearer"]: row["amount"] for row in who_bore(found).iter_rows(named=True)}
    total = sum(max(loss, 0.0) for loss in losses.values()) or 1.0

    def written(loss: float) -> str:
        return f"{_share(loss / total)} of all losses" if swept.synthetic else amount(loss, swept.currency)

    parts = [
        f"the {name} {'gained' if losses[name] < 0 else 'lost'} {written(abs(losses[name]))}"
        for name in ("fund", "backstop")
        if losses[name]
    ]
    others = {
        "counterparties": "counterparties gave up {} of profit",
        "clawback": "{} of profit was clawed back",
        "nobody": "{} went uncovered",
    }
    if swept.synthetic:
        others["counterparties"] = "counterparties gave up profit worth {}"
        others["clawback"] = "profit worth {} was clawed back"
    parts += [words.format(written(losses[name])) for name, words in others.items() if losses[name]]
    return "; ".join(parts) or "nobody but the holders lost on balance"
