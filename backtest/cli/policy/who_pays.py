"""Who pays under each procedure, fee and fund: tables and sentences, from the best to the worst fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

import polars as pl

from backtest.amounts import NOTHING, duration, number, percentage, plural, timestamp
from backtest.chart.venues.policy import cap_name
from backtest.cli.policy.results import FILL_WORDS, Table, Tried, cap_words, procedure_called, same
from backtest.study.policy.delays import FINE
from backtest.study.policy.frontier import AMOUNTS
from backtest.study.policy.grid import BRACKET

#: A case of terms: by fill, the rows of each book.
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

#: Amounts per million below it are written as 0.
LEAST = 0.05

#: Bearers of losses beyond margins, and what each pays as a sum of columns.
BEARERS: Mapping[str, Mapping[str, int]] = {
    "fund": {"shortfall": 1, "adl": -1},
    "backstop": {"backstop": -1},
    "counterparties": {"given_up": 1},
    "clawback": {"clawed_back": 1},
    "deficit": {"deficit": 1},
}
BEARER_WORDS = {
    "fund": "paid by\nthe fund",
    "backstop": "lost by\nthe backstop",
    "counterparties": "profit\ngiven up",
    "clawback": "clawed\nback",
    "deficit": "uncovered\ndeficit",
}

#: Shortfall after delays of 10 and 60 s on coarser bars over that on minutes (spot, 20 April to 22 May 2021: BTC,
#: ETH, DOGE, XRP, ADA; ``benchmarks/delays.py``).
HOURS, FIVE_MINUTES = "0.2 to 0.9", "0.7 to 1.4"

#: Columns of the terms of a case.
TERMS = ("procedure", "liquidation_fee", "fund")


def tables(tried: Tried, history: str) -> Iterator[Table]:
    """Yield who pays under each of several terms, and the costs of procedures to the liquidated."""
    if tried.replayed:
        yield _procedures(tried, history)
    if len(tried.grid.terms()) > 1 or tried.replayed:
        yield _payers(tried, history)


def bracket_words(tried: Tried) -> str:
    """Return the meaning of the two ends of an amount, or that it has only one."""
    fills = tried.grid.fills
    if len(fills) == 1:
        return f"{FILL_WORDS[fills[0]]} only, so without a bracket"
    ends = "from fills at the liquidation price to fills at the worst price of the bar"
    if set(BRACKET) - set(fills):
        return " and ".join(FILL_WORDS[fill] for fill in fills)
    return f"{FILL_WORDS['delayed']} ({ends})" if "delayed" in fills else ends


def sentences(tried: Tried) -> Iterator[str]:
    """Yield losses left to others by fill, and the procedures with the smallest losses."""
    if len(tried.grid.terms()) > 1:
        for fill in tried.grid.fills:
            yield _left_to_others(tried, fill)
    if len(tried.grid.procedures) > 1:
        for history in tried.histories:
            yield _by_procedure(tried, history)


def caveats(tried: Tried) -> Iterator[str]:
    """Yield the limits of the settlement that could change the conclusion."""
    if "delayed" in tried.grid.fills:
        yield from _of_delay(tried)
    if set(BRACKET) - set(tried.grid.fills):
        words = " and ".join(FILL_WORDS[fill] for fill in tried.grid.fills)
        yield f"Fills: only liquidations {words} were tried, so the losses of a fund have no bracket."
    if tried.replayed:
        yield (
            "Feedback: liquidations do not move the mark price here, and the history contains its own "
            "cascade. Where "
            "liquidations moved the price, a cap or a procedure that sells less is worth more than this shows."
        )
    else:
        yield (
            "Feedback: liquidations do not move the mark price here, positions are fully closed, and ADL "
            "closes no "
            "counterparty's position. Where liquidations moved the price, a cap that forces fewer of them is "
            "worth "
            "more than this shows."
        )


def _cases(tried: Tried, history: str) -> list[Rows]:
    """Return each case of terms at the loosest cap under the first response, by fill."""
    own = tried.base("liquidation_fee", "fund", "procedure", "fill").filter(
        same("cap", tried.loosest), history=history, response=tried.grid.responses[0]
    )
    parts = own.partition_by(TERMS, maintain_order=True)
    return [{fill: part.filter(fill=fill).to_dicts() for fill in tried.grid.fills} for part in parts]


def _payers(tried: Tried, history: str) -> Table:
    cases = _cases(tried, history)
    shown: list[tuple[str, Callable[[Rows], str]]] = _named(tried)
    if not tried.replayed:  # else they are in the table of procedures
        shown += [("fees\nper million", _amount("fees")), ("returned\nper million", _amount("returned"))]
    bearers = [name for name in BEARERS if name == "fund" or _any(cases, *BEARERS[name]) or name == "deficit"]
    shown.append(("losses\nbeyond margins\nper million", _amounts(lambda row: sum(borne(row).values()))))
    shown += [(BEARER_WORDS[name], _paid_by(name)) for name in bearers]
    shown.append(("lowest fund\n% of its start", _share("fund_lowest", "fund")))
    shown += [("ADL\nnotional\nper million", _amount("adl_notional"))] if tried.replayed else []
    shown.append(("first ADL\nor deficit", _first))
    caption = f"Who pays, {history}, highest leverage {cap_name(tried.loosest)}, {bracket_words(tried)}"
    return _table(caption + _basis(tried), shown, cases)


def borne(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses beyond margins by bearer, per million of intended notional; gains are negative."""
    return {
        bearer: sum(sign * (row[AMOUNTS[name]] or 0.0) for name, sign in parts.items())
        for bearer, parts in BEARERS.items()
    }


def _procedures(tried: Tried, history: str) -> Table:
    cases = [case for case in _cases(tried, history) if _one(case)["fund"] == tried.grid.funds[0]]
    shown: list[tuple[str, Callable[[Rows], str]]] = [
        *(column for column in _named(tried) if column[0] != "fund"),
        ("triggered, %\nof positions", _share("begun", "intended")),
        ("of these\nrestored\n%", _share("released", "begun")),
        ("notional\nclosed\nper million", _amount("closed_notional")),
        ("losses of the\nliquidated\nper million", _amount("traders_losses")),
        ("of these fees\nper million", _amount("begun_fees")),
        ("margin\nreturned\nper million", _amount("returned")),
    ]
    caption = (
        f"Costs of each procedure to the liquidated, {history}, highest leverage {cap_name(tried.loosest)}, fund "
        f"{number(tried.grid.funds[0])}, {bracket_words(tried)}"
    )
    return _table(caption + _basis(tried), shown, cases)


def _named(tried: Tried) -> list[tuple[str, Callable[[Rows], str]]]:
    """Return the columns of the terms of a case."""
    fees = [] if tried.grid.liquidation_fees == (None,) else [("fee\n% of notional", _fee)]
    return [
        ("procedure" if tried.replayed else "remaining\nmargin", _word),
        *fees,
        ("fund", lambda rows: number(_one(rows)["fund"])),
    ]


def _basis(tried: Tried) -> str:
    """Return the basis of each figure, where there are several books."""
    return f"; each figure is {tried.basis}" if tried.basis else ""


def _table(caption: str, shown: Sequence[tuple[str, Callable[[Rows], str]]], cases: Sequence[Rows]) -> Table:
    return Table(caption, [name for name, _ in shown], [[write(case) for _, write in shown] for case in cases])


def _one(rows: Rows) -> Mapping[str, Any]:
    return next(iter(rows.values()))[0]


def _word(rows: Rows) -> str:
    return str(_one(rows)["procedure"]).replace("_", " ")


def _fee(rows: Rows) -> str:
    fee = _one(rows)["liquidation_fee"]
    return "current rules" if fee is None else percentage(fee, 2)


def _amount(name: str) -> Callable[[Rows], str]:
    """Return a function that writes an amount per million from one fill to the other."""
    return _amounts(lambda row: row[AMOUNTS[name]])


def _paid_by(bearer: str) -> Callable[[Rows], str]:
    """Return a function that writes what a bearer pays from one fill to the other."""
    return _amounts(lambda row: borne(row)[bearer])


def _amounts(of: Callable[[Mapping[str, Any]], float]) -> Callable[[Rows], str]:
    """Return a function that writes what a row gives from one fill to the other."""
    return lambda rows: _span({fill: figure(median(of(row) for row in books)) for fill, books in rows.items()})


def figure(amount: float) -> str:
    """Return an amount to a tenth, to a whole number where it is large, 0 where it is negligible."""
    return "0" if abs(amount) < LEAST else number(amount, 1 if abs(amount) < 99.95 else 0)


def _share(part: str, whole: str) -> Callable[[Rows], str]:
    """Return a function that writes a share in per cent from one fill to the other."""

    def write(rows: Rows) -> str:
        shares = {fill: [row[part] / row[whole] for row in books if row[whole]] for fill, books in rows.items()}
        return _span({fill: percentage(median(found) if found else None, 1) for fill, found in shares.items()})

    return write


def _span(written: Mapping[str, str]) -> str:
    """Return one figure, or the two ends of a bracket, behind what the delay gives."""
    ends = list(dict.fromkeys(value for fill, value in written.items() if fill != "delayed"))
    bracket = " to ".join(ends)
    if "delayed" not in written:
        return bracket
    return written["delayed"] if ends in ([], [written["delayed"]]) else f"{written['delayed']} ({bracket})"


def _of_delay(tried: Tried) -> Iterator[str]:
    """Yield what the delay assumes, and how far bars that are coarse can be wrong."""
    bars = tried.policies["bar_seconds"].unique().sort().to_list()
    named = " and ".join(duration(timedelta(seconds=seconds)) for seconds in bars)
    yield (
        f"Delay: positions are filled {tried.delay} ({named}). A longer delay, thinner books and orders that wait "
        "for one another cost more."
    )
    if bars[-1] * 1000 > FINE:
        yield (
            f"Bars: {duration(timedelta(seconds=bars[-1]))} is too coarse to decide on. Through the crash of May "
            f"2021, five coins, after the same delay, hours gave {HOURS} of the shortfall of the minutes, five "
            f"minutes {FIVE_MINUTES}."
        )


def _first(rows: Rows) -> str:
    """Return the earliest time that the fund could not pay, under any fill and in any book."""
    times = [row["first_adl"] for books in rows.values() for row in books if row["first_adl"] is not None]
    return timestamp(min(times)) if times else NOTHING


def _any(cases: Sequence[Rows], *names: str) -> bool:
    return any(row[name] for case in cases for books in case.values() for row in books for name in names)


def _left_to_others(tried: Tried, fill: str) -> str:
    covered = tried.base("liquidation_fee", "fund", "procedure", "fill").filter(
        same("cap", tried.loosest), response=tried.grid.responses[0], fill=fill
    )
    uncovered = covered.filter(pl.col("adl_per_million") >= LEAST)
    others = "counterparties pay by ADL or stays uncovered" if tried.replayed else "stays uncovered"
    where = f"With {cap_words(tried.loosest)}, {FILL_WORDS[fill]}"
    which = f"of {number(covered.height)} (procedure, fee and fund, by history and book)"
    amount = "0.1 or more per million of intended notional that the fund cannot pay"
    if uncovered.is_empty():
        return f"{where}, no case {which} leaves {amount}."
    most = figure(uncovered["adl_per_million"].to_numpy().max())
    verb = "leaves" if uncovered.height == 1 else "leave"
    cases = f"{plural(uncovered.height, 'case')} {which}"
    return f"{where}, {cases} {verb} {amount} and that {others}; at most {most}."


def _by_procedure(tried: Tried, history: str) -> str:
    """Return the procedures with the smallest losses of the liquidated, and of others."""
    own = tried.base("procedure", "fill").filter(
        same("cap", tried.loosest), history=history, response=tried.grid.responses[0], fill=tried.fill
    )
    middle = own.group_by("procedure", maintain_order=True).agg(
        pl.col("losses_per_million", "adl_per_million").median()
    )
    losses, others = (middle.sort(name, maintain_order=True) for name in ("losses_per_million", "adl_per_million"))
    basis = f", medians over {tried.books} books" if tried.books > 1 else ""
    return (
        f"{history}, procedures with {cap_words(tried.loosest)} and a fund of {number(tried.grid.funds[0])}, "
        f"{FILL_WORDS[tried.fill]}{basis}: the liquidated lose least under {_ends(losses, 'losses_per_million')}; "
        f"least is left to others under {_ends(others, 'adl_per_million')} per million of intended notional."
    )


def _ends(ordered: pl.DataFrame, name: str) -> str:
    first, last = ordered.row(0, named=True), ordered.row(-1, named=True)
    return f"{_quoted(first)} ({figure(first[name])}) and most under {_quoted(last)} ({figure(last[name])})"


def _quoted(row: Mapping[str, Any]) -> str:
    return procedure_called(row["procedure"]).removeprefix("procedure ")
