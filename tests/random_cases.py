"""Random markets, books and venues to compare the engine with the reference on, half of the positions in a tie.

A tie: a position's margin is chosen so that its equity is exactly its maintenance margin at the extreme of some
later bar, where the last digit decides. Three families of numbers: ``dyadic`` ones are exact in binary, so ties
are exact; ``ticks`` are decimal prices as venues quote them; ``continuous`` ones have every digit.
"""

# ruff: noqa: N806 (a formula looks like the model's: E and M stay capitals)

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from segment_reference import effective_times

from backtest.rules.contract import Contract
from backtest.rules.margin import initial_margin
from backtest.rules.tiers import ALWAYS_FROM, ALWAYS_UNTIL, TierTable
from backtest.rules.venue import Venue
from backtest.schemas.frames import PRICE_PREFIX, Side, Time

Array = np.ndarray[Any, Any]
Held = dict[str, Array]  # columns of positions
Rng = np.random.Generator

START = 1_621_382_400_000  # 19 May 2021
FAMILIES = ("dyadic", "ticks", "continuous")
KINDS = ("linear", "inverse", "face_value")
LENGTHS = (1, 7, 8, 9, 63, 64, 65, 200, 513)  # around the blocks of eight that a tree is made of
SIX_HOURS = 6 * 3600 * 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = -1

#: Prices of a bar that recorded exits are put at.
OHL = ("open", "low", "high")


class Case(NamedTuple):
    """Everything a sweep is given; ``options`` are keywords of the reference."""

    bars: pl.DataFrame
    funding: pl.DataFrame | None
    positions: pl.DataFrame
    adjustments: pl.DataFrame | None
    venue: Venue
    options: dict[str, Any]


class Numbers(NamedTuple):
    """How values of one family and kind of contract are rounded."""

    family: str
    kind: str

    def price(self, values: Array, lowest: float | None = None) -> Array:
        face = self.kind == "face_value"
        tick = {"dyadic": 1 / 128 if face else 1 / 64, "ticks": 0.01, "continuous": 1e-9}[self.family]
        lowest = (0.0 if face else tick) if lowest is None else tick
        values = np.clip(values, lowest, 1.0 if face else np.inf)
        if self.family == "dyadic" and self.kind == "inverse":
            return 2.0 ** np.round(np.log2(values))  # one over it is exact too
        if self.family == "continuous":
            return values
        return np.maximum(np.round(np.round(values / tick) * tick, 7), lowest)

    def quantity(self, values: Array) -> Array:
        if self.family == "dyadic":
            return 2.0 ** np.round(np.log2(values))
        return np.maximum(np.round(values, 1), 0.1) if self.family == "ticks" else values

    def money(self, values: Array) -> Array:
        if self.family == "dyadic":
            return np.round(values * 2.0**20) / 2.0**20
        return np.round(values, 6 if self.kind == "inverse" else 2) if self.family == "ticks" else values

    def rates(self, rng: Rng, count: int) -> Array:
        """Return rising maintenance rates."""
        if self.family == "dyadic":
            return np.sort(rng.choice([1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128], count, replace=False)) / 256
        printed = [0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5]
        rates = np.sort(rng.choice(printed, count, replace=False))
        return rates if self.family == "ticks" else rates * rng.uniform(0.7, 1.0)

    def funding_rates(self, rng: Rng, count: int) -> Array:
        rates = rng.normal(rng.choice([-0.003, 0, 0.0001, 0.003]), rng.choice([0.0001, 0.002]), count)
        digits = {"dyadic": 1024.0, "ticks": 1e6, "continuous": None}[self.family]
        return rates if digits is None else np.round(rates * digits) / digits


@dataclass(frozen=True)
class History:
    """Bars and funding of one symbol as arrays."""

    symbol: str
    numbers: Numbers
    interval: int
    gap_limit: int | None
    times: Array  #: (n,) ms
    prices: dict[str, Array]  #: ``open`` ..., ``last_open`` ..., each (n,)
    stamps: Array  #: (m,) ms
    rates: Array  #: (m,)

    @property
    def kind(self) -> str:
        return self.numbers.kind

    @property
    def end(self) -> int:
        return int(self.times[-1]) + (self.interval if self.times.size > 1 else 0)

    def charges(self) -> tuple[Array, Array, Array]:
        """Return each charged stamp's effective time and bar, and the sums from none to all of them."""
        effective = np.array(effective_times(self.stamps.tolist()), np.int64)
        bar = np.searchsorted(self.times, effective)
        kept = (effective >= self.times[0]) & (bar < self.times.size)
        bar, mark = bar[kept], self.prices["open"][bar[kept]]
        payments = self.rates[kept] / mark if self.kind == "inverse" else self.rates[kept] * mark
        return effective[kept], bar, np.concatenate([[0.0], np.cumsum(payments)])

    def funding_in_bars(self) -> Array:
        _, charged_at, sums = self.charges()
        return sums[np.searchsorted(charged_at, np.arange(self.times.size), "right")]

    def funding_at(self, times: Array) -> Array:
        effective, _, sums = self.charges()
        return sums[np.searchsorted(effective, times, "right")]

    def worst(self, series: str, side: Array, bar: Array) -> Array:
        prefix = PRICE_PREFIX[series]
        return np.where(side > 0, self.prices[f"{prefix}low"][bar], self.prices[f"{prefix}high"][bar])


@np.errstate(all="ignore")  # a price that does not exist is looked for, and then left out
def random_case(rng: Rng, count: int = 300) -> Case:
    """Return a case with about ``count`` positions over one to three symbols."""
    family, symbols = rng.choice(FAMILIES), ["AAA", "BBB", "CCC"][: rng.choice([1, 1, 2, 3])]
    extra = [name for name in ("last", "index") if rng.random() < 0.6]
    interval = int(rng.choice([1_000, 60_000, 300_000, 3_600_000], p=[0.1, 0.4, 0.2, 0.3]))
    gap_limit = (SIX_HOURS, None, 0, 3 * interval)[rng.choice(4, p=[0.4, 0.2, 0.1, 0.3])]
    options = random_options(rng, extra) | {"gap_limit_ms": gap_limit}
    tables_rule = str(rng.choice(["strict", "nearest", "stand-in"]))
    columns = str(rng.choice(["margin", "leverage", "both"]))
    own = np.random.Generator(rng.bit_generator.jumped())  # later settings leave the draws of earlier ones alone
    release, includes = str(own.choice(["pro_rata", "pro_rata", "keep"])), bool(own.random() < 0.5)
    apply = str(own.choice(["entry", "always"]))
    contracts, frames, changes, histories, stand_ins = {}, [], [], [], {}
    for symbol in symbols:
        history = random_history(rng, symbol, Numbers(family, str(rng.choice(KINDS))), interval, gap_limit, extra)
        held = random_entries(rng, history, -(-count // len(symbols)))
        stands_in = tables_rule == "stand-in" and rng.random() < 0.7
        contract = random_contract(rng, history, held, gaps=stands_in or tables_rule == "nearest")
        contract = contract.with_(margin_includes_closing_fee=includes and contract.closing_fee == "at_bankruptcy")
        if stands_in:
            stand_ins[symbol] = str(rng.choice([table.name for table in contract.tables]))
        tables = tables_of(contract, held["entry_time"], stand_ins.get(symbol))
        setting = Setting(history, contract, tables, options["trigger_price"] or "mark")
        add_margins(rng, setting, held, columns)
        add_exits(rng, history, held)
        add_stops(rng, setting, held, options["stop_trigger"] or ("last" if "last" in extra else "mark"))
        changes.append(random_adjustments(rng, setting, held, release))
        contracts[symbol] = with_maximum_leverage(rng, contract, held)
        frames.append(pl.DataFrame({"symbol": [symbol] * len(held["side"])} | held))
        histories.append(history)
    options["tiers"] = stand_ins if tables_rule == "stand-in" else tables_rule
    positions, adjustments = with_ids(rng, pl.concat(frames), changes, columns)
    remainder = str(rng.choice(["returned", "returned", "fund", "shared"]))
    venue = Venue(name="random", title="Random", contracts=contracts, remainder=remainder, release=release)
    venue = venue.with_(tiers_apply=apply)
    return Case(bars_of(histories), funding_of(histories), positions, adjustments, venue, options)


def with_recorded_exits(case: Case, rng: Rng) -> Case:
    """Return a case in which some exits have a price, of their bar or anywhere, and exit bars may be tested."""
    if "exit_time" not in case.positions.columns:
        return case._replace(options=case.options | {"exit_bar": "tested"})
    near = case.bars.select("symbol", "time", "open", "low", "high").sort("time")
    rows = case.positions.sort("exit_time").join_asof(
        near, left_on="exit_time", right_on="time", by="symbol", check_sortedness=False
    )
    anywhere = pl.col("entry_price") * pl.Series(np.exp(rng.normal(0, 0.1, rows.height)))
    kind = pl.Series(rng.integers(0, 6, rows.height))
    price = pl.when(kind < 3).then(pl.coalesce(*(pl.when(kind == k).then(name) for k, name in enumerate(OHL))))
    price = price.otherwise(pl.when(kind == 3).then(anywhere))
    faces = [name for name, own in case.venue.contracts.items() if own.kind == "face_value"]
    price = pl.when(pl.col("symbol").is_in(faces)).then(price.clip(upper_bound=1.0)).otherwise(price)
    prices = rows.select(
        "position_id", exit_price=pl.when(pl.col("exit_time").is_not_null() & (price > 0)).then(price)
    )
    positions = case.positions.join(prices, on="position_id", maintain_order="left")
    exit_bar = str(rng.choice(["untested", "tested"]))
    return case._replace(positions=positions, options=case.options | {"exit_bar": exit_bar})


def random_options(rng: Rng, extra: list[str]) -> dict[str, Any]:
    series = ["mark", *extra]
    fills = ["liquidation_price", *(["last_close", "last_extreme"] if "last" in extra else [])]
    return {
        "trigger_price": None if rng.random() < 0.4 else str(rng.choice(series)),
        "stop_trigger": None if rng.random() < 0.5 else str(rng.choice(series)),
        "fill_price": str(rng.choice(fills)),
        "intrabar": str(rng.choice(["pessimistic", "optimistic", "path", "path"])),
        "entry_bar": str(rng.choice(["untested", "tested"])),
    }


def random_history(
    rng: Rng, symbol: str, numbers: Numbers, interval: int, gap_limit: int | None, extra: list[str]
) -> History:
    length = int(rng.choice(LENGTHS, p=[0.04, 0.1, 0.1, 0.1, 0.15, 0.15, 0.16, 0.12, 0.08]))
    times = random_times(rng, length, interval, gap_limit)
    prices = random_bars(rng, length, numbers)
    for name in extra:
        noise = np.exp(rng.normal(0, rng.choice([0.0, 0.003, 0.03]), (4, length)))
        open_, high, low, close = (
            numbers.price(prices[part] * noise[row]) for row, part in enumerate(("open", "high", "low", "close"))
        )
        high, low = np.max([open_, high, low, close], axis=0), np.min([open_, high, low, close], axis=0)
        prices |= {f"{name}_open": open_, f"{name}_high": high, f"{name}_low": low, f"{name}_close": close}
    stamps = random_stamps(rng, times, interval)
    rates = numbers.funding_rates(rng, stamps.size)
    return History(symbol, numbers, interval, gap_limit, times, prices, stamps, rates)


def random_times(rng: Rng, length: int, interval: int, gap_limit: int | None) -> Array:
    """Return openings one interval apart, but for at most a third of them."""
    limit = SIX_HOURS if gap_limit is None else gap_limit
    steps = np.full(length, interval)
    if length > 1 and rng.random() < 0.6:
        missing = np.array([interval, 2 * interval, interval // 2, limit, limit + 1, limit + interval])
        count = min(int(rng.integers(1, 4)), (length - 1) // 3)
        where = 1 + rng.choice(length - 1, count, replace=False)
        weights = [0.3, 0.2, 0.1, 0.2, 0.1, 0.1]
        steps[where] += rng.choice(missing, count, p=weights)
    return START + int(rng.integers(0, 48)) * 3_600_000 + np.cumsum(steps) - interval


def random_bars(rng: Rng, length: int, numbers: Numbers) -> Held:
    volatility = rng.choice([0.002, 0.01, 0.03])
    returns = rng.normal(0, volatility, length + 1) + (rng.random(length + 1) < 0.02) * rng.normal(0, 0.08)
    level = np.cumsum(returns)
    face = numbers.kind == "face_value"
    path = rng.uniform(0.1, 0.9) + level if face else float(rng.choice([100, 100, 40_000])) * np.exp(level)
    scale = volatility if face else volatility * path[1:]
    jump = (rng.random(length) < 0.05) * rng.normal(0, 3, length) * scale
    open_, close = path[:-1] + jump, path[1:]
    high = np.maximum(open_, close) + rng.exponential(0.5, length) * scale
    low = np.minimum(open_, close) - rng.exponential(0.5, length) * scale
    open_, high, low, close = (numbers.price(values) for values in (open_, high, low, close))
    return {"open": open_, "high": high, "low": low, "close": close}


def random_stamps(rng: Rng, times: Array, interval: int) -> Array:
    """Return no stamps, regular ones a little late, or any number anywhere, before and after the bars too."""
    style = rng.choice(["none", "regular", "late", "anywhere"], p=[0.15, 0.3, 0.25, 0.3])
    if style == "none":
        return np.zeros(0, np.int64)
    if style == "anywhere":
        count = int(rng.integers(1, max(4, times.size)))
        return np.unique(rng.integers(times[0] - 2 * interval, times[-1] + 2 * interval, count))
    stamps = times[:: int(rng.choice([1, 4, 8]))]
    if style == "late":
        stamps = stamps + rng.choice([0, 7, 1000, 1001], stamps.size)
    return np.unique(stamps)


def random_moments(rng: Rng, history: History, after: Array) -> Array:
    """Return moments after others: openings, between them, the end of the bars, or later than anything."""
    times, interval = history.times, history.interval
    first = np.searchsorted(times, after, "right")
    reach = rng.choice([3, 20, times.size + 2], after.size)
    bar = first + (rng.random(after.size) * np.minimum(reach, times.size + 2 - first)).astype(np.int64)
    opening = np.where(bar < times.size, times[np.minimum(bar, times.size - 1)], times[-1] + 5 * interval)
    before = np.maximum(times[np.clip(bar - 1, 0, times.size - 1)], after)
    between = before + np.round(rng.random(after.size) * (opening - before)).astype(np.int64)
    return np.maximum(np.where(rng.random(after.size) < 0.5, opening, between), after + 1)


def random_entries(rng: Rng, history: History, count: int) -> Held:
    """Return sides, entries and quantities."""
    times, numbers = history.times, history.numbers
    bar = rng.integers(0, times.size, count)
    bar = np.where(rng.random(count) < 0.3, np.minimum(bar, 8), bar)
    opening, next_opening = times[bar], np.append(times, history.end)[bar + 1]
    inside = opening + (rng.random(count) * (next_opening - opening + 1)).astype(np.int64)
    style = rng.choice(4, count, p=[0.55, 0.3, 0.12, 0.03])
    bar_end = np.minimum(opening + history.interval, history.end)
    entry_time = np.choose(style, [opening, inside, bar_end, np.full(count, history.end)])
    near = np.choose(rng.integers(0, 3, count), [history.prices[part][bar] for part in ("open", "close", "low")])
    away = np.exp(rng.normal(0, 0.05, count) * (rng.random(count) < 0.3))
    entry_price = numbers.price(near * away, lowest=1e-9)
    size = np.exp(rng.uniform(np.log(20), np.log(200_000), count))
    quantity = size if history.kind in ("inverse", "face_value") else size / entry_price
    return {
        "side": rng.choice([1.0, -1.0], count),
        "entry_time": entry_time,
        "entry_price": entry_price,
        "quantity": numbers.quantity(quantity),
    }


def notional_of(kind: str, quantity: Array, price: Array) -> Array:
    if kind == "face_value":
        return quantity
    return quantity / price if kind == "inverse" else quantity * price


def random_contract(rng: Rng, history: History, held: Held, gaps: bool) -> Contract:
    fee = str(rng.choice(["none", "at_mark", "at_bankruptcy"]))
    rate = 1 / 1024 if history.numbers.family == "dyadic" else 0.0006
    spans = table_spans(rng, history, held["entry_time"], gaps)
    return Contract(
        symbol=history.symbol,
        kind=history.kind,
        basis=str(rng.choice(["mark", "mark", "entry"])),
        closing_fee=fee,
        closing_fee_rate=0.0 if fee == "none" else rate,
        trigger=str(rng.choice(["<=", "<"], p=[0.7, 0.3])),
        tables=tuple(
            random_table(rng, history, held, f"table {number}", *span) for number, span in enumerate(spans)
        ),
    )


def table_spans(rng: Rng, history: History, entry_times: Array, gaps: bool) -> list[tuple[datetime, datetime]]:
    """Return one to three spans in the middle of the history that meet and cover all time, or that do not."""
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    middle = np.concatenate([history.times, entry_times])
    if not gaps:
        cuts = np.unique(rng.choice(middle, count - 1))
        return list(pairwise([ALWAYS_FROM, *map(moment, cuts), ALWAYS_UNTIL]))
    cuts = np.unique(rng.choice(middle, 2 * count))
    if cuts.size < 2:
        cuts = np.append(cuts, cuts + history.interval)
    return list(zip(map(moment, cuts[0:-1:2]), map(moment, cuts[1::2]), strict=False))


def random_table(rng: Rng, history: History, held: Held, name: str, start: datetime, end: datetime) -> TierTable:
    numbers, dated = history.numbers, {"name": name, "start": start, "end": end}
    model = str(rng.choice(["marginal", "flat", "leverage"], p=[0.55, 0.3, 0.15]))
    if model == "leverage":
        return TierTable(model="leverage", rate_factor=0.5 if numbers.family == "dyadic" else 0.6, **dated)
    contracts = model == "flat" and rng.random() < 0.5
    contract_size = float(rng.choice([1.0, 0.5, 0.25])) if contracts else 1.0
    entry_notional = notional_of(history.kind, held["quantity"], held["entry_price"])
    sizes = held["quantity"] / contract_size if contracts else entry_notional
    floors = np.unique(np.append(0.0, rng.choice(sizes, int(rng.choice([0, 1, 2, 4, 9])))))
    return TierTable(
        model=model,
        floors=floors,
        rates=numbers.rates(rng, floors.size),
        size="contracts" if contracts else "notional",
        contract_size=contract_size,
        boundary=str(rng.choice(["lower", "higher"])),
        cap=float(sizes.max()) if rng.random() < 0.2 and sizes.max() > floors[-1] else np.inf,
        **dated,
    )


def tables_of(contract: Contract, entry_times: Array, stand_in: str | None) -> Array:
    """Return the number of the table of each entry: by name, in force, or nearest (the earlier of two)."""
    if stand_in is not None:
        return np.full(entry_times.size, [table.name for table in contract.tables].index(stand_in))
    times = entry_times[:, None]
    starts = np.array([milliseconds(table.start) for table in contract.tables])
    ends = np.array([milliseconds(table.end) for table in contract.tables])
    away = np.where(times < starts, starts - times, np.where(times >= ends, times - ends, -1))
    return np.argmin(away, axis=1)


class Setting(NamedTuple):
    """What decides a margin requirement: contract, table of each position, and the prices that trigger."""

    history: History
    contract: Contract
    tables: Array
    series: str

    def tiers(self, held: Held) -> tuple[Array, Array]:
        """Return the rates and amounts that can apply to each position, (tiers, n)."""
        rows = max(len(table) for table in self.contract.tables)
        rates, amounts = np.zeros((rows, held["side"].size)), np.full((rows, held["side"].size), np.inf)
        entry_notional = notional_of(self.contract.kind, held["quantity"], held["entry_price"])
        for number, table in enumerate(self.contract.tables):
            own = self.tables == number
            if table.model == "leverage":
                rates[0, own], amounts[0, own] = table.rate_factor / held["leverage"][own], 0.0
            elif table.model == "flat":
                contracts = table.size == "contracts"
                size = held["quantity"] / table.contract_size if contracts else entry_notional
                rates[0, own], amounts[0, own] = table.rates[table.tier_of(size[own])], 0.0
            else:
                rates[: len(table), own] = table.rates[:, None]
                amounts[: len(table), own] = table.amounts[:, None]
        return rates, amounts

    def constants(self, held: Held) -> tuple[Array, Array]:
        """Return the closing fee at bankruptcy and the constant requirement (NaN where it follows the mark)."""
        contract, s, q = self.contract, held["side"], held["quantity"]
        E, M = held["entry_price"], held["margin"]
        f, face = contract.included_fee_rate, contract.kind == "face_value"
        bankrupt = (s * q * E - M + f * q * face) / (q * (s - f * (not face)))
        if contract.kind == "inverse":
            bankrupt = (q * -(s + f)) / -(M + s * q / E)
        fee = contract.bankruptcy_fee_rate * notional_of(contract.kind, q, bankrupt)
        rates, amounts = self.tiers(held)
        constant = np.max(rates * notional_of(contract.kind, q, E) - amounts, axis=0)
        fixed = contract.requirement_is_constant
        return np.where(bankrupt > 0, fee, 0.0), constant if fixed else np.full(s.size, np.nan)

    def excess(self, held: Held, price: Array, funding: Array) -> Array:
        """Return equity less maintenance margin, in the order of docs/model.md; funding since the entry."""
        contract, s, q, E = self.contract, held["side"], held["quantity"], held["entry_price"]
        move = 1 / E - 1 / price if contract.kind == "inverse" else price - E
        equity = (held["margin"] + (s * q) * move) - (s * q) * funding
        notional = notional_of(contract.kind, q, price)
        fee, constant = self.constants(held)
        if not contract.requirement_is_constant:
            rates, amounts = self.tiers(held)
            constant = np.max(rates * notional - amounts, axis=0)
        return equity - ((constant + contract.mark_fee_rate * notional) + fee)

    def liquidation_price(self, held: Held) -> Array:
        """Return the price where equity meets the maintenance margin at the entry; NaN where there is none."""
        contract, s, q, E, M = (
            self.contract,
            held["side"],
            held["quantity"],
            held["entry_price"],
            held["margin"],
        )
        fee, constant = self.constants(held)
        rates, amounts = self.tiers(held)
        levels, f = fee - amounts, contract.mark_fee_rate
        if contract.requirement_is_constant:
            rates, levels = np.zeros((1, s.size)), (fee + constant)[None]
        if contract.kind == "face_value":
            levels, f = levels + f * q, 0.0
        if contract.kind == "inverse":
            found = (q * -(s + rates + f)) / (-(M + (s * q) / E) + levels)
        else:
            found = (((s * q) * E - M) + levels) / (q * (s - rates - f))
        found = np.where(np.isfinite(levels) & (found > 0), found, np.nan)
        bounded = np.where(np.isnan(found), -np.inf * s, found)
        price = np.where(s > 0, bounded.max(axis=0), bounded.min(axis=0))
        return np.where(np.isfinite(price), price, np.nan)

    def margin_for_tie(self, held: Held, bar: Array, derived: bool) -> Array:
        """Return the margin with which equity is just the maintenance margin at a bar's worst; NaN if none."""
        price = self.history.worst(self.series, held["side"], bar)
        funding = self.history.funding_in_bars()[bar] - held["funding"]
        entry_notional = notional_of(self.contract.kind, held["quantity"], held["entry_price"])
        guess = dict(held)
        for _ in range(8):
            guess["margin"] = guess["margin"] - self.excess(guess, price, funding)
            guess["margin"] = np.where(guess["margin"] > 0, guess["margin"], np.nan)
            if derived:
                guess["leverage"] = entry_notional / guess["margin"]
        return guess["margin"]


def add_margins(rng: Rng, setting: Setting, held: Held, columns: str) -> None:
    """Add margin and leverage, whichever is given deciding the other; about half of the positions get a tie."""
    history, numbers, count = setting.history, setting.history.numbers, held["side"].size
    entry_notional = notional_of(history.kind, held["quantity"], held["entry_price"])
    leverage = np.exp(rng.uniform(0, np.log(100), count))
    if numbers.family == "dyadic":
        leverage = 2.0 ** np.floor(np.log2(leverage))
    if numbers.family == "ticks":
        leverage = np.floor(leverage)
    margin = numbers.money(entry_notional / leverage * rng.choice([1.0, 1.0, 0.75], count))
    held["margin"] = np.where(margin > 0, margin, entry_notional / leverage)
    held["leverage"] = entry_notional / held["margin"] if columns == "margin" else leverage
    held["funding"] = history.funding_at(held["entry_time"])
    first = np.searchsorted(history.times, held["entry_time"])
    bar = first + np.floor(rng.exponential(6, count)).astype(np.int64)
    tied = setting.margin_for_tie(held, np.minimum(bar, history.times.size - 1), columns != "both")
    nudged = np.nextafter(tied, tied * rng.choice([0.5, 2.0], count))
    tied = np.where(rng.random(count) < 0.15, nudged, tied)
    use = (rng.random(count) < 0.6) & (bar < history.times.size) & ~(tied > entry_notional) & ~np.isnan(tied)
    held["margin"] = np.where(use, tied, held["margin"])
    if columns != "both":
        held["leverage"] = np.maximum(entry_notional / held["margin"], 1.0)
    if columns == "leverage":
        given = {name: held[name] for name in ("side", "quantity", "entry_price", "leverage")}
        held["margin"] = initial_margin(setting.contract, **given)


def with_maximum_leverage(rng: Rng, contract: Contract, held: Held) -> Contract:
    """Return the contract, sometimes with a limit on leverage that all positions keep to."""
    if rng.random() < 0.6:
        return contract
    limit = float(np.ceil(held["leverage"].max()))
    return replace(contract, tables=tuple(table.capped(limit) for table in contract.tables))


def add_exits(rng: Rng, history: History, held: Held) -> None:
    exits = random_moments(rng, history, held["entry_time"])
    held["exit_time"] = np.where(rng.random(exits.size) < 0.2, exits, NEVER)


def add_stops(rng: Rng, setting: Setting, held: Held, series: str) -> None:
    """Add stops and take-profits to some: at an extreme, an opening, the liquidation price, or anywhere."""
    history, s, E, count = setting.history, held["side"], held["entry_price"], held["side"].size
    bar = np.searchsorted(history.times, held["entry_time"]) + rng.integers(0, 12, count)
    bar = np.minimum(bar, history.times.size - 1)
    opening = history.prices[f"{PRICE_PREFIX[series]}open"][bar]
    anywhere = E * np.exp(rng.exponential(0.05, count) * s)
    losing = [history.worst(series, s, bar), opening, setting.liquidation_price(held), E * E / anywhere]
    winning = [history.worst(series, -s, bar), opening, 2 * E - setting.liquidation_price(held), anywhere]
    for name, choices, beyond in (("stop_price", losing, -s), ("take_profit_price", winning, s)):
        price = np.choose(rng.integers(0, 4, count), choices)
        wanted = (rng.random(count) < 0.3) & (price > 0) & ((price - E) * beyond > 0)
        held[name] = np.where(wanted, price, np.nan)


def random_adjustments(rng: Rng, setting: Setting, held: Held, release: str) -> Held:
    """Return up to four adjustments of some positions, by row; a lone one is often made to end in a tie."""
    history, count = setting.history, held["side"].size
    many = rng.choice(5, count, p=[0.7, 0.14, 0.06, 0.05, 0.05])
    rows = np.repeat(np.arange(count), many)
    times = random_moments(rng, history, held["entry_time"][rows])
    again = np.append(False, rows[1:] == rows[:-1]) & (rng.random(rows.size) < 0.1)
    times = np.where(again, np.append(0, times[:-1]), times)
    parts = rng.choice([1 / 8, 3 / 16, 1 / 16], rows.size)
    if history.numbers.family != "dyadic":
        parts = rng.uniform(0, 0.24, rows.size)
    closed = np.where(rng.random(rows.size) < 0.5, 0.0, parts * held["quantity"][rows])
    changes = history.numbers.money(held["margin"][rows] * rng.normal(0.1, 0.4, rows.size))
    changes = np.where(rng.random(rows.size) < 0.3, 0.0, changes)
    tied = change_for_tie(rng, setting, held, rows, times, closed, release)
    use = (many[rows] == 1) & (rng.random(rows.size) < 0.6) & np.isfinite(tied)
    return {
        "row": rows,
        "time": times,
        "margin_change": np.where(use, tied, changes),
        "quantity_change": np.where(closed > 0, -closed, 0.0),
    }


def change_for_tie(
    rng: Rng, setting: Setting, held: Held, rows: Array, times: Array, closed: Array, release: str
) -> Array:
    """Return the change of margin that makes a tie some bars after an adjustment, if it is the only one."""
    history, own = setting.history, {name: values[rows] for name, values in held.items()}
    last = history.times.size - 1
    bar = np.searchsorted(history.times, times)
    price, funding, s = history.prices["open"][np.minimum(bar, last)], history.funding_at(times), own["side"]
    move = 1 / own["entry_price"] - 1 / price if history.kind == "inverse" else price - own["entry_price"]
    left = own["margin"] - (s * own["quantity"]) * (funding - own["funding"])
    open_part = own["quantity"] - closed
    left = left * (open_part / own["quantity"]) if release == "pro_rata" else left + (s * closed) * move
    own |= {"quantity": open_part, "funding": funding}
    later = np.minimum(bar + np.floor(rng.exponential(4, rows.size)).astype(np.int64), last)
    after = setting._replace(tables=setting.tables[rows])
    return np.where(bar <= last, after.margin_for_tie(own, later, derived=False) - left, np.nan)


def with_ids(
    rng: Rng, positions: pl.DataFrame, changes: list[Held], columns: str
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return positions in random order, with ids in no order, and their adjustments; some columns left out."""
    ids = rng.permutation(3 * positions.height)[: positions.height]
    order = rng.permutation(positions.height)
    offsets = np.cumsum([0, *(positions.height // len(changes) for _ in changes)])
    adjustments = pl.concat(
        pl.DataFrame(own | {"row": own["row"] + offset}) for own, offset in zip(changes, offsets, strict=False)
    )
    adjustments = adjustments.select(
        pl.col("row").map_batches(lambda rows: pl.Series(ids[rows.to_numpy()]), pl.Int64).alias("position_id"),
        moments("time"),
        *(["margin_change"] if rng.random() < 0.9 else []),
        "quantity_change",
    )
    dropped = [name for name in ("exit_time", "stop_price", "take_profit_price") if rng.random() < 0.3]
    dropped += ["funding", *({"margin": ["leverage"], "leverage": ["margin"]}.get(columns, []))]
    positions = positions.with_columns(
        pl.Series("position_id", ids),
        pl.when(pl.col("side") > 0).then(pl.lit("long")).otherwise(pl.lit("short")).cast(Side).alias("side"),
        moments("entry_time"),
        moments("exit_time"),
        pl.col("stop_price", "take_profit_price").fill_nan(None),
    )
    none = adjustments.is_empty() or rng.random() < 0.2
    return positions.drop(dropped)[order], None if none else adjustments


def with_additions(rng: Rng, case: Case) -> Case:
    """Return a case whose holders also add to positions that no table's size limits, some at their own prices."""
    endless = [symbol for symbol, own in case.venue.contracts.items() if min(t.cap for t in own.tables) == np.inf]
    chosen = case.positions.filter(
        pl.col("symbol").is_in(endless) & (pl.Series(rng.random(case.positions.height)) < 0.5)
    )
    chosen = pl.concat([chosen, chosen.filter(pl.Series(rng.random(chosen.height)) < 0.3)])
    times = {symbol: own["time"] for (symbol,), own in case.bars.group_by("symbol")}
    opens = {symbol: own["open"] for (symbol,), own in case.bars.group_by("symbol")}
    rows = []
    for row in chosen.select("position_id", "symbol", "entry_time", "entry_price", "quantity").iter_rows(
        named=True
    ):
        known, prices = times[row["symbol"]], opens[row["symbol"]]
        bar = min(known.search_sorted(row["entry_time"], "right") + int(rng.exponential(5)), len(known) - 1)
        late = timedelta(milliseconds=int(rng.choice([0, 0, -1, 7, 400_000])))
        time = max(known[int(bar)] + late, row["entry_time"] + timedelta(milliseconds=1))
        factor = float(rng.choice([1.0, 1.0, 0.5, 2.0, np.exp(rng.normal(0, 0.02))]))
        highest = 1.0 if case.venue.contract(row["symbol"]).kind == "face_value" else np.inf
        price = min(max(prices[int(bar)], 1e-9) * factor, highest)
        quantity = row["quantity"] * float(rng.choice([0.125, 0.5, 1.0, 3.0, rng.uniform(0.01, 2)]))
        margin = float(rng.choice([0.0, 1.0, rng.uniform(0, 0.2)])) * row["entry_price"]
        rows.append(
            {
                "position_id": row["position_id"],
                "time": time,
                "margin_change": None if rng.random() < 0.5 else margin,
                "quantity_change": quantity,
                "price": None if rng.random() < 0.5 else price,
            }
        )
    kinds = {"position_id": pl.Int64, "time": Time, "margin_change": pl.Float64, "quantity_change": pl.Float64}
    grown = pl.DataFrame(rows, schema=kinds | {"price": pl.Float64})
    changes = [grown] if case.adjustments is None else [case.adjustments, grown]
    both = pl.concat(changes, how="diagonal")
    return case._replace(adjustments=both.select(grown.columns) if both.height else None)


def bars_of(histories: list[History]) -> pl.DataFrame:
    frames = [
        pl.DataFrame({"symbol": [own.symbol] * own.times.size, "time": own.times} | own.prices)
        for own in histories
    ]
    return pl.concat(frames).with_columns(moments("time"))


def funding_of(histories: list[History]) -> pl.DataFrame | None:
    frames = [
        pl.DataFrame({"symbol": [own.symbol] * own.stamps.size, "time": own.stamps, "rate": own.rates})
        for own in histories
        if own.stamps.size
    ]
    return pl.concat(frames).with_columns(moments("time")) if frames else None


def moments(name: str) -> pl.Expr:
    return pl.when(pl.col(name) >= 0).then(pl.col(name)).cast(Time).alias(name)


def moment(time: int) -> datetime:
    return EPOCH + timedelta(milliseconds=int(time))


def milliseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)
