"""Market, rules and settings as the records a replay's kernels read."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from backtest.engine import market_arrays
from backtest.engine.replay.arguments import Options
from backtest.engine.sweep.prepare import Prepared
from backtest.errors import ArgumentError
from backtest.kernel.choices import AdlRank, Choice, ContractKind, Intrabar, Remainder, TakeoverPrice, WaveOrder
from backtest.kernel.replay import adl_ranking, records
from backtest.kernel.replay.codes import FUND, LEDGER, OWNERS
from backtest.kernel.replay.requeue import NEVER
from backtest.kernel.types import Floats, Integers, readonly
from backtest.rules import procedure as rules
from backtest.rules.procedure import Impact
from backtest.rules.venue import Venue

#: Cells of all symbols and sides together, and rows and columns of one side's grid, from and to.
MOST_CELLS, GRID = 2**15, (4, 32)
#: A share is the nearest ratio of whole numbers up to this one: a third of the lots is a third.
LARGEST_DENOMINATOR = 10**9
#: Settings that are choices.
CHOICES: dict[str, type[Choice]] = {
    **rules.CODES,
    "order": WaveOrder,
    "remainder": Remainder,
    "takeover_price": TakeoverPrice,
}

#: A side with more open positions than this is spread over cells once so many times all of them have been scored.
INDEX_LEAST, INDEX_AFTER = 1_024, 8


def volume_of(prepared: Prepared, impact: Impact, venue: Venue) -> Floats:
    """Return (rows,) the notional traded in each bar, zero where nothing asks for it.

    Raises
    ------
    ArgumentError
        Where capacity, impact or unwinding depend on volume and the bars have none.
    """
    asked = {
        "a limit on participation": np.isfinite(impact.participation),
        "square-root impact": impact.square_root > 0,
        "unwinding by shares of it": venue.procedure.unwind == "share",
    }
    market = prepared.market
    wanted = [name for name, needed in asked.items() if needed]
    if not wanted:
        return readonly(np.zeros(market.bars.height))
    if "volume" not in market.bars.columns:
        raise ArgumentError(
            f"bars must have a column volume, they have none: {' and '.join(wanted)} cannot do without"
        )
    traded = market.bars["volume"].to_numpy().astype(np.float64)
    close = market.prices("mark", "close")
    for number, contract in enumerate(prepared.contracts):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        if contract.kind == "linear":
            traded[rows] *= close[rows]
    return readonly(traded)


def grid_of(venue: Venue, symbols: int) -> int:
    """Return the rows and columns of the cells of a symbol and side; none where no rank gains by them."""
    own = venue.procedure
    if own.adl_trigger == "never" or AdlRank.code(own.adl_rank) not in adl_ranking.BOUNDED:
        return 0
    lines = GRID[0]
    while lines < GRID[1] and 2 * symbols * (2 * lines) ** 2 <= MOST_CELLS:
        lines *= 2
    return lines


def bars_of(prepared: Prepared, venue: Venue, options: Options, series: str) -> records.Records:
    """Return the prices of each bar, and what is known of it."""
    market, bars = prepared.market, prepared.bars
    found = np.empty(market.bars.height, records.BAR)
    for name in ("time", "open", "high", "low", "close", "mark_open", "fill_long", "fill_short"):
        found[name] = getattr(bars, name)
    for part in ("open", "high", "low", "close"):
        found[f"watched_{part}"] = market.prices(series, part)
    found["charged"] = prepared.funding.charged
    found["volume"] = volume_of(prepared, options.impact, venue)
    return readonly(found)


def groups_of(prepared: Prepared) -> records.Records:
    """Return the groups as records, and one more that says where the tiers end."""
    own = prepared.rules.rules
    groups = np.zeros(own.kind.size + 1, records.GROUP_RECORD)
    for name in records.GROUP_RECORD.names or ():
        if name not in ("tier_first", "row"):
            groups[name][:-1] = getattr(own, name)
    groups["tier_first"] = own.tier_first
    groups["row"][:-1] = _first_rows(prepared)
    return readonly(groups)


def _first_rows(prepared: Prepared) -> Integers:
    """Return the row of bars from which each group's table applies to open positions."""
    bars, rules = prepared.bars, prepared.rules
    return np.array(
        [
            bars.first[group.symbol]
            + np.searchsorted(bars.time[bars.first[group.symbol] : bars.first[group.symbol + 1]], group.start)
            for group in rules.groups
        ],
        np.int64,
    )


def tiers_of(prepared: Prepared, tree_queue: Any) -> records.Records:
    """Return the tiers as records, with the queues of those who would trigger in them."""
    own = prepared.rules.rules
    tiers = np.zeros(own.rate.size, records.TIER_RECORD)
    for name in ("floor", "rate", "amount", "hurdle_long", "hurdle_short"):
        tiers[name] = getattr(own, name)
    tiers["queue_long"], tiers["queue_short"] = tree_queue[own.tree_long], tree_queue[own.tree_short]
    return readonly(tiers)


def cash_of(options: Options, unit: float) -> Integers:
    """Return what each account holds before the first bar, in units."""
    cash = np.zeros(len(LEDGER), np.int64)
    cash[FUND] = round(options.fund * unit)
    cash[OWNERS] = -cash[FUND]
    return cash


def symbols_of(lots: Floats, prepared: Prepared, venue: Venue, grid: int) -> records.Records:
    """Return a record a symbol, as before the first bar."""
    market, seconds = prepared.market, venue.procedure.round_seconds
    rules, rows = prepared.rules.rules, _first_rows(prepared)
    symbols = np.zeros(len(market.symbols), records.SYMBOL)
    for number, record in enumerate(symbols):
        record["first"], record["count"] = market.firsts[number], market.firsts[number + 1] - market.firsts[number]
        record["interval"] = market.intervals[number]
        record["funding_first"] = record["funding_now"] = prepared.funding.first[number]
        record["time_before"] = market.times[market.firsts[number]]
        record["kind"] = ContractKind.code(prepared.contracts[number].kind)
        record["rounds"] = int(min(max(1, market.intervals[number] // (1000 * seconds)), 2**31 - 1))
        record["waiting_first"], record["mark"], record["lot"] = -1, -1.0, lots[number]
        record["group_first"], record["group_end"] = rules.first[number : number + 2]
        later = rules.successor[rules.first[number] : rules.first[number + 1]]
        record["table_row"] = rows[later[later >= 0]].min(initial=NEVER)
        record["cells"] = [(2 * number + side) * (1 + grid * grid) for side in (0, 1)]
    return symbols


def charges_of(prepared: Prepared, impact: Impact) -> records.Records:
    """Return sums to be filled in (as they are without feedback), charges, and how far sums may yet go."""
    funding, market = prepared.funding, prepared.market
    charges = np.zeros(funding.cumulative.size, records.CHARGE)
    charges["cumulative"] = funding.cumulative
    charges["amount"] = market_arrays.charge_amounts(market, prepared.contracts)
    if impact.mark == 0:
        charges["fall"] = funding.lowest - funding.cumulative
        charges["rise"] = funding.highest - funding.cumulative
        return charges
    stretch = float(np.exp(impact.largest_offset))
    for first, end in zip(funding.first[:-1], funding.first[1:], strict=True):
        own = charges["amount"][first + 1 : end] * stretch
        charges["fall"][first : end - 1] = np.cumsum(np.minimum(own, 0.0)[::-1])[::-1]
        charges["rise"][first : end - 1] = np.cumsum(np.maximum(own, 0.0)[::-1])[::-1]
    return charges


def settings_of(venue: Venue, options: Options, prepared: Prepared, unit: float, series: str) -> records.Records:
    """Return every setting; ``series`` is what stops and take-profits watch.

    A setting of the kernel that is named as a field of the procedure, of the impact, of the options or of the
    venue is that field; the others are derived here.
    """
    settings = np.zeros(1, records.SETTINGS)
    derived = _derived(venue, options, prepared, unit, series)
    sources = (venue.procedure, options.impact, options, venue)
    for name in records.SETTINGS.names or ():
        found = [getattr(source, name) for source in sources if hasattr(source, name)]
        if name in derived:
            settings[name] = derived[name]
        elif found:
            settings[name] = _as_number(name, found[0])
    return settings


def _as_number(name: str, value: Any) -> Any:
    """Return a setting as kernels have it: a choice by its code, a part of whole numbers as their ratio."""
    if name in CHOICES:
        return CHOICES[name].code(value)
    if name in records.RATIOS:
        return Fraction(value).limit_denominator(LARGEST_DENOMINATOR).as_integer_ratio()
    return value


def _derived(venue: Venue, options: Options, prepared: Prepared, unit: float, series: str) -> dict[str, Any]:
    """Return the settings that are no field of a venue or of the options, by name."""
    grid = grid_of(venue, len(prepared.market.symbols))
    return {
        "half_life": options.impact.half_life_seconds * 1000,
        "adl_window": venue.procedure.adl_hours * 3_600_000,
        "pro_rata": venue.release == "pro_rata",
        "intrabar": Intrabar.code(options.conventions.intrabar),
        "test_entry_bar": options.conventions.entry_bar == "tested",
        "test_exit_bar": options.conventions.exit_bar == "tested",
        "traded": prepared.bars.traded,
        "same_series": series == prepared.series,
        "replaced": prepared.bars.replaced,
        "trace": -1,
        "unit": unit,
        "cell_rows": grid,
        "cell_columns": grid,
        "index_after": INDEX_AFTER,
        "index_least": INDEX_LEAST,
    }
