"""A book, a market and a procedure as the arrays the replay steps through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from backtest.engine import history
from backtest.engine.limits import Admitted
from backtest.engine.prepare import INTRABAR, Prepared, actions_of
from backtest.engine.replay_queues import queues_of
from backtest.errors import ArgumentError, DataError
from backtest.kernel import agenda, records
from backtest.kernel import waterfall as w
from backtest.kernel.compile import in_chunks, readonly
from backtest.kernel.types import FACE_VALUE, INVERSE, Floats, Integers
from backtest.market.market import Market
from backtest.rules import procedure as rules
from backtest.rules import venue_file
from backtest.rules.contract import KINDS
from backtest.rules.procedure import Impact
from backtest.rules.timeline import milliseconds
from backtest.rules.venue import Venue

#: Whole units of money to one of settlement currency: quote, and coin.
QUOTE_UNIT, COIN_UNIT = 1e6, 1e10
#: Money and lots must add up below these, an eighth of what 64 bits hold.
MOST_UNITS, MOST_LOTS = 2.0**60, 1e18
#: Needs that may be pooled before they are passed on early, steps a trace may have.
POOLED, TRACED = 8_192, 4_096


@dataclass(frozen=True, eq=False)
class Options:
    """What the caller of a replay decides beside the venue's rules."""

    fund: float
    deposits: tuple[tuple[datetime, float], ...]
    impact: Impact
    fill_price: str
    intrabar: str
    entry_bar: str
    stop_trigger: str | None
    seed: int
    trace: int  #: row of the traced position, or -1


def unit_of(prepared: Prepared, symbols: tuple[str, ...]) -> float:
    """Return how many whole units make one of settlement currency; coin and quote do not mix.

    Raises
    ------
    ArgumentError
        For a book of contracts that settle in different currencies.
    """
    contracts = {group.contract.symbol: group.contract for group in prepared.rules.groups}
    coins = sorted(symbol for symbol in symbols if contracts[symbol].kind == "inverse")
    if coins and (len(coins) < len(symbols) or len(coins) > 1):
        raise ArgumentError(
            f"one fund holds one currency: {', '.join(symbols)} settle in several (coin: {', '.join(coins)}); "
            "replay each by itself"
        )
    return COIN_UNIT if coins else QUOTE_UNIT


def volume_of(market: Market, impact: Impact, venue: Venue) -> Floats:
    """Return (rows,) the notional traded in each bar, zero where nothing asks for it.

    Raises
    ------
    ArgumentError
        Where capacity, impact or unwinding depend on volume and the bars have none.
    """
    asked = {
        "impact participation": np.isfinite(impact.participation),
        "impact square_root": impact.square_root > 0,
        "unwind 'share'": venue.procedure.unwind == "share",
    }
    wanted = [name for name, needed in asked.items() if needed]
    if not wanted:
        return readonly(np.zeros(market.bars.height))
    if "volume" not in market.bars.columns:
        raise ArgumentError(
            f"bars must have a column volume, they have none: {' and '.join(wanted)} cannot do without"
        )
    traded = market.bars["volume"].to_numpy().astype(np.float64)
    close = market.prices("mark", "close")
    for number, symbol in enumerate(market.symbols):
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        if venue.contract(symbol).kind == "linear":
            traded[rows] *= close[rows]
    return readonly(traded)


def build(
    admitted: Admitted, prepared: Prepared, venue: Venue, options: Options, threads: int | None, spare: int
) -> tuple[w.World, agenda.Agenda]:
    """Return everything a replay steps through; ``spare`` is the number of further nodes and of ADL rows."""
    book, plan = _agenda(admitted, prepared, options, threads)
    unit = unit_of(prepared, tuple(admitted.frame["symbol"].unique(maintain_order=True)))
    book["id"] = admitted.frame["position_id"].to_numpy()
    lots = _fill_lots(book, prepared)
    _require_range(book, prepared, options, unit, _flows(book, prepared, venue, options, plan))
    has_orders = bool(np.isfinite(book["stop_price"]).any() or np.isfinite(book["take_profit_price"]).any())
    return _world(prepared, venue, options, book, lots, unit, has_orders, spare), plan


def _agenda(
    admitted: Admitted, prepared: Prepared, options: Options, threads: int | None
) -> tuple[records.Records, agenda.Agenda]:
    bars, market = prepared.bars, prepared.market
    count, rows = admitted.frame.height, market.bars.height
    book = np.zeros(count, records.POSITION)
    actions = actions_of(admitted.frame, admitted.adjustments)
    in_chunks(
        lambda start, stop: agenda.survey_entries(
            bars, prepared.funding, prepared.rules.rules, admitted.positions, actions, book, start, stop
        ),
        count,
        threads,
    )
    firsts = market.firsts[book["symbol"]]
    counts = np.diff(market.firsts)[book["symbol"]]
    entry_at = np.where(book["start"] < counts, firsts + book["start"], rows)
    exit_at = np.where(book["exit_bar"] < counts, firsts + book["exit_bar"], -1)
    change_at, change_made = np.empty(actions.row.size, np.int64), np.empty(actions.row.size, np.int64)
    agenda.place_changes(bars, prepared.funding, actions, book, change_at, change_made)
    ids = admitted.frame["position_id"].to_numpy()
    tested = options.entry_bar == "tested"
    turn = np.lexsort((ids, admitted.frame["entry_time"].to_numpy())) if tested else _by_id(ids)
    entry_first, entry = _by_row(entry_at, rows, turn)
    exit_first, exits = _by_row(exit_at, rows, _by_id(ids))
    change_first, change = _by_row(change_at, rows, _by_id(ids[actions.row]))
    after_gap = np.zeros(rows, np.bool_)
    for number in range(len(market.symbols)):
        gaps = bars.gap[bars.gap_first[number] : bars.gap_first[number + 1]]
        after_gap[market.firsts[number] + gaps] = True
    deposits = sorted(options.deposits)
    unit = unit_of(prepared, tuple(admitted.frame["symbol"].unique(maintain_order=True)))
    return book, agenda.Agenda(
        rows=readonly(np.argsort(market.times, kind="stable").astype(np.int64)),
        symbol=readonly(np.repeat(np.arange(len(market.symbols), dtype=np.int32), np.diff(market.firsts))),
        after_gap=readonly(after_gap),
        entry_first=entry_first,
        entry=entry,
        exit_first=exit_first,
        exit=exits,
        change_first=change_first,
        change=change,
        change_owner=actions.row,
        change_made=readonly(change_made),
        margin_change=actions.margin_change,
        quantity_change=actions.quantity_change,
        deposit_time=readonly(np.array([milliseconds(time) for time, _ in deposits], np.int64)),
        deposit=readonly(np.array([round(amount * unit) for _, amount in deposits], np.int64)),
    )


def _by_id(ids: Any) -> Any:
    """Return the order of ids, ties as they come; nothing where they are in order."""
    return None if (ids[1:] >= ids[:-1]).all() else np.argsort(ids, kind="stable")


def _by_row(at: Any, rows: int, turn: Any) -> tuple[Integers, Any]:
    """Return where each row's begin and what takes place in it, in turn: the book's order decides nothing."""
    first, order = np.zeros(rows + 2, np.int64), np.zeros(at.size, np.int32)
    turned = at if turn is None else at[turn]
    agenda.sort_by_row(np.ascontiguousarray(turned, np.int64), first, order, rows + 1)
    if turn is not None:
        order = turn[order].astype(np.int32)
    return readonly(first), readonly(order)


def _fill_lots(book: records.Records, prepared: Prepared) -> Floats:
    """Count every quantity in whole lots, as fine as 64 bits allow, and return each symbol's lot."""
    lots = np.ones(len(prepared.market.symbols))
    for number in range(lots.size):
        own = book["symbol"] == number
        total = float(book["quantity"][own].sum())
        if total > 0:
            lots[number] = 10.0 ** np.ceil(np.log10(total / MOST_LOTS))
            counted = np.rint(book["quantity"][own] / lots[number])
            if counted.min() < 1:
                smallest = float(book["quantity"][own].min())
                raise DataError(
                    f"positions: quantities of {prepared.market.symbols[number]} must lie within seventeen orders "
                    f"of magnitude of their sum: the smallest is {smallest:g}, the sum {total:g}"
                )
            book["lots"][own] = counted.astype(np.int64)
    return lots


def _stretch(options: Options) -> float:
    """Return by what factor an offset may at most multiply or divide prices."""
    return float(np.exp(options.impact.largest_offset if options.impact.mark > 0 else 0.0))


def _flows(
    book: records.Records, prepared: Prepared, venue: Venue, options: Options, plan: agenda.Agenda
) -> float:
    """Return the most that funding and changes of margin can add up to, in settlement currency."""
    market, first = prepared.market, prepared.funding.first
    amounts = np.abs(history.charge_amounts(market, [venue.contract(symbol) for symbol in market.symbols]))
    total = float(np.abs(plan.margin_change).sum())
    for number in range(len(market.symbols)):
        quantity = float(book["quantity"][book["symbol"] == number].sum())
        total += quantity * float(amounts[first[number] + 1 : first[number + 1]].sum()) * _stretch(options)
    return total


def _require_range(book: records.Records, prepared: Prepared, options: Options, unit: float, flows: float) -> None:
    """Refuse what could overflow 64 bits, at the farthest prices the history and the offset allow."""
    market, stretch = prepared.market, _stretch(options)
    total = float(options.fund) + sum(abs(amount) for _, amount in options.deposits) + flows
    for number in range(len(market.symbols)):
        own = book[book["symbol"] == number]
        rows = slice(int(market.firsts[number]), int(market.firsts[number + 1]))
        kinds = [KINDS[group.contract.kind] for group in prepared.rules.groups if group.symbol == number]
        if own.size == 0:
            continue
        high, low = float(prepared.bars.high[rows].max()), float(prepared.bars.low[rows].min())
        far = max(high, float(own["entry_price"].max())) * stretch
        near = min(low, float(own["entry_price"].min())) / stretch
        worth = {INVERSE: 1 / near if near > 0 else np.inf, FACE_VALUE: 1.0}.get(kinds[0], far)
        total += float(own["quantity"].sum()) * worth + float(own["margin"].sum()) * stretch
    if not total * unit < MOST_UNITS:
        raise DataError(
            "positions: notionals, margins and their changes, funding and fund must add up to less than "
            f"{MOST_UNITS / unit:,.4g} of settlement currency, what units of {1 / unit:g} can count: they may "
            f"reach {total:,.4g}"
        )


def _world(
    prepared: Prepared,
    venue: Venue,
    options: Options,
    book: records.Records,
    lots: Floats,
    unit: float,
    has_orders: bool,
    spare: int,
) -> w.World:
    market, bars = prepared.market, prepared.bars
    count, rows = book.size, market.bars.height
    base = 3 * count if has_orders else count
    nodes = np.zeros(base + spare, records.NODE)
    nodes["slot"], nodes["next"], nodes["sibling"] = -1, -1, -1
    nodes["owner"][:base] = np.tile(np.arange(count, dtype=np.int32), base // count) if count else 0
    counters = np.zeros(w.COUNTERS, np.int64)
    counters[w.EXTRA_USED], counters[w.EXTRA_FREE] = base, -1
    symbols = _symbols(book, lots, prepared, venue)
    queues, tree_queue, heads, buckets = queues_of(prepared, options.impact, symbols, count)
    series = options.stop_trigger or ("last" if market.has("last") else "mark")
    settings = _settings(venue, options, unit, buckets, base, series == prepared.series, bars.replaced)
    drop = venue.procedure.adl_trigger == "fund_drop"
    return w.World(
        groups=_groups(prepared),
        tiers=_tiers(prepared, tree_queue),
        settings=settings,
        symbols=symbols,
        book=book,
        nodes=nodes,
        heads=heads,
        queues=queues,
        members=np.empty(count, np.int32),
        wave=np.empty(count, records.RANKED),
        ranking=np.empty(count, records.RANKED),
        cash=_cash(options, unit),
        counters=counters,
        steps=np.zeros(rows, records.STEP),
        needs=np.zeros(POOLED, records.NEED),
        table=np.zeros(spare, records.TABLE),
        trace=np.zeros(TRACED if options.trace >= 0 else 0, records.TRACE),
        bars=_bars(prepared, venue, options, series),
        charges=_charges(prepared, venue, options.impact),
        window=np.zeros(rows + 1 if drop else 1, records.MOMENT),
    )


def _bars(prepared: Prepared, venue: Venue, options: Options, series: str) -> records.Records:
    market, bars = prepared.market, prepared.bars
    found = np.empty(market.bars.height, records.BAR)
    for name in ("time", "open", "high", "low", "mark_open", "fill_long", "fill_short"):
        found[name] = getattr(bars, name)
    for part in ("open", "high", "low"):
        found[f"watched_{part}"] = market.prices(series, part)
    found["charged"] = prepared.funding.charged
    found["volume"] = volume_of(market, options.impact, venue)
    return readonly(found)


def _groups(prepared: Prepared) -> records.Records:
    """Return the groups as records, and one more that says where the tiers end."""
    own = prepared.rules.rules
    groups = np.zeros(own.kind.size + 1, records.GROUP_RECORD)
    for name in records.GROUP_RECORD.names or ():
        if name != "tier_first":
            groups[name][:-1] = getattr(own, name)
    groups["tier_first"] = own.tier_first
    return readonly(groups)


def _tiers(prepared: Prepared, tree_queue: Any) -> records.Records:
    own = prepared.rules.rules
    tiers = np.zeros(own.rate.size, records.TIER_RECORD)
    for name in ("floor", "rate", "amount", "hurdle_long", "hurdle_short"):
        tiers[name] = getattr(own, name)
    tiers["queue_long"], tiers["queue_short"] = tree_queue[own.tree_long], tree_queue[own.tree_short]
    return readonly(tiers)


def _cash(options: Options, unit: float) -> Integers:
    cash = np.zeros(w.ACCOUNTS, np.int64)
    cash[w.FUND] = round(options.fund * unit)
    cash[w.OWNERS] = -cash[w.FUND]
    return cash


def _symbols(book: records.Records, lots: Floats, prepared: Prepared, venue: Venue) -> records.Records:
    market, seconds = prepared.market, venue.procedure.round_seconds
    symbols = np.zeros(len(market.symbols), records.SYMBOL)
    members = 0
    for number, record in enumerate(symbols):
        own = book["symbol"] == number
        record["first"], record["count"] = market.firsts[number], market.firsts[number + 1] - market.firsts[number]
        record["interval"] = market.intervals[number]
        record["funding_first"] = record["funding_now"] = prepared.funding.first[number]
        record["time_before"] = market.times[market.firsts[number]]
        record["kind"] = KINDS[venue.contract(market.symbols[number]).kind]
        record["rounds"] = int(min(max(1, market.intervals[number] // (1000 * seconds)), 2**31 - 1))
        record["waiting_first"], record["mark"] = -1, -1.0
        for side in (0, 1):
            record["member_first"][side] = members
            members += int((own & (book["side"] == side)).sum())
        record["lot"] = lots[number]
    return symbols


def _charges(prepared: Prepared, venue: Venue, impact: Impact) -> records.Records:
    """Return sums to be filled in (as they are without feedback), charges, and how far sums may yet go."""
    funding, market = prepared.funding, prepared.market
    charges = np.zeros(funding.cumulative.size, records.CHARGE)
    charges["cumulative"] = funding.cumulative
    charges["amount"] = history.charge_amounts(market, [venue.contract(symbol) for symbol in market.symbols])
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


def _settings(
    venue: Venue, options: Options, unit: float, buckets: int, base: int, same_series: bool, replaced: bool
) -> records.Records:
    own, impact = venue.procedure, options.impact
    settings = np.zeros(1, records.SETTINGS)
    record = settings[0]
    for name, choices in rules.CHOICES.items():
        record[name] = choices.index(getattr(own, name))
    numbers = ("step_fraction", "partial_from", "order_notional", "backstop_capacity")
    for name in (*rules.SWITCHES, *rules.COUNTS, *rules.SHARES, *rules.RATES, *numbers):
        record[name] = getattr(own, name)
    for name in ("participation", "linear", "square_root", "mark", "permanent", "largest_offset", "generations"):
        record[name] = getattr(impact, name)
    record["order"] = ("price", "largest", "id").index(impact.order)
    record["half_life"] = impact.half_life_seconds * 1000
    record["adl_window"] = own.adl_hours * 3_600_000
    record["remainder"] = venue_file.CHOICES["remainder"].index(venue.remainder)
    record["takeover_price"] = venue_file.CHOICES["takeover_price"].index(venue.takeover_price)
    record["takeover_discount"] = venue.takeover_discount
    record["intrabar"], record["test_entry_bar"] = INTRABAR[options.intrabar], options.entry_bar == "tested"
    record["same_series"], record["replaced"] = same_series, replaced
    record["trace"], record["seed"], record["unit"] = options.trace, options.seed, unit
    record["buckets"], record["base_nodes"] = buckets, base
    return settings
