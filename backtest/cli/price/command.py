"""``backtest price``: liquidation, bankruptcy and takeover price of one isolated position."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backtest.amounts import NOTHING, column, day, number, percentage, plain, price, timestamp
from backtest.cli.common.assumptions import quote
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.text import facts, table
from backtest.errors import ArgumentError
from backtest.rules.calculator import position_prices
from backtest.rules.contract import tick_sentence
from backtest.rules.position import PositionPrices
from backtest.rules.timeline import is_in_force

if TYPE_CHECKING:
    from backtest.cli.price.volatility import Volatility

DEFAULT_SYMBOL = "BTCUSDT"

#: Status from each ratio of equity to maintenance margin up. Ascend's document prints 4.0, 3.2 and 2.8 as healthy,
#: 2.0 as caution, 1.2 as warning and 1.0 as liquidation; the edges half-way between are assumed.
STATUS = ((2.4, "Healthy"), (1.6, "Caution"), (-math.inf, "Warning"))

KIND = {"linear": "linear", "inverse": "inverse", "face_value": "face-value"}


def run(options: Namespace) -> None:
    """Print the prices of one position, their basis, and the table where requested; or those of an account."""
    if options.at is not None and options.bars is None:
        raise ArgumentError("--at is the end of the volatility window and needs --bars; --date is the entry date")
    if options.account is not None or options.leg:
        from backtest.cli.price import account

        account.run(options)
    else:
        _run_position(options)


def _run_position(options: Namespace) -> None:
    """Print the prices of one position, their basis, and the table where requested."""
    _require_position(options)
    entry_time = options.date or datetime.now(UTC)
    position = _position(options)
    found = None
    if options.bars is not None:
        from backtest.cli.price.volatility import daily_volatility

        found = daily_volatility(options.bars, position.contract.symbol, end=options.at, window=options.window)
    print(_title(position))
    print(f"\n{prices(position, found)}")
    named = _basis(position, entry_time, found)
    if options.positions is not None:
        from backtest.cli.price.queue import place

        named.append(("ADL queue", place(options, position, entry_time)))
    print(f"\n{facts(named, indent='')}")
    if options.table is not None:
        print(f"\n{way_to_liquidation(position, options.table)}")


def _require_position(options: Namespace) -> None:
    """Refuse one position without its side, entry price and quantity, and with options of accounts."""
    needed = [name for name in ("side", "entry_price", "quantity") if getattr(options, name) is None]
    if needed:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in needed)
        raise ArgumentError(f"the following arguments are required: {listed} (see backtest price --help)")
    for name in ("wallet", *(("mark",) if options.positions is None else ())):
        if getattr(options, name) is not None:
            raise ArgumentError("is for an account in cross margin: give --account or --leg", argument=name)


def _position(options: Namespace) -> PositionPrices:
    """Return the position of the options."""
    if options.margin is None and options.leverage is None:
        raise ArgumentError("price needs --margin, --leverage, or both")
    venue = read_venue(options)
    usual = DEFAULT_SYMBOL if DEFAULT_SYMBOL in venue.contracts else next(iter(venue.contracts), DEFAULT_SYMBOL)
    return position_prices(
        venue,
        options.symbol or usual,
        side=options.side,
        entry_price=options.entry_price,
        quantity=options.quantity,
        leverage=options.leverage,
        margin=options.margin,
        time=options.date,
        tiers=options.tiers,
    )


def prices(position: PositionPrices, volatility: Volatility | None = None) -> str:
    """Return liquidation, bankruptcy and takeover price and their distance from the entry."""
    found = position.table(None if volatility is None else volatility.daily)
    header = ["", f"price\n{quote(position.symbol, position.currency)}", "from entry\n%"]
    columns = [
        found["name"].to_list(),
        column([position.shown_liquidation_price, *found["price"].to_list()[1:]]),
        [_signed(100 * move) for move in found["move"]],
    ]
    if volatility is not None:
        header.append("days of\nvolatility")
        columns.append([number(days, 2) for days in found["days_of_volatility"]])
    return table(header, zip(*columns, strict=True))


def way_to_liquidation(position: PositionPrices, at: Sequence[float] = ()) -> str:
    """Return result, balance, ratio and status at given prices, or between entry and liquidation."""
    found = position.way(at)
    if found.is_empty():
        return "No price liquidates this position: give prices after --table to see its balance there."
    header = ["mark price", "unrealised\nresult", "balance\n(equity)", "maintenance\nmargin", "ratio", "status"]
    amounts = ("mark_price", "unrealised_result", "equity", "maintenance_margin")
    columns = [
        *(column(found[name].to_list()) for name in amounts),
        [number(ratio, 2) for ratio in found["equity_ratio"]],
        [status(position, value) for value in found["mark_price"]],
    ]
    note = (
        "ratio: equity over maintenance margin (some venues show its reciprocal); status: as Ascend names "
        "it, with the\n"
        "edges 2.4 and 1.6 assumed half-way between the ratios in its document"
    )
    return f"{table(header, zip(*columns, strict=True), left=0)}\n\n{note}"


def status(position: PositionPrices, at: float) -> str:
    """Return the status of a position at a price."""
    if position.liquidated_at(at):
        return "Liquidation"
    ratio = position.equity(at) / position.maintenance_margin(at)
    return next(name for edge, name in STATUS if ratio >= edge)


def _signed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:+,.2f}"


def _title(position: PositionPrices) -> str:
    side = "long" if position.side > 0 else "short"
    currency = position.currency
    return (
        f"{position.venue.title}, {position.contract.symbol} ({KIND[position.contract.kind]}): {side} "
        f"{plain(position.quantity)} from {price(position.entry_price)}, leverage {plain(position.leverage, 4)}x, "
        f"margin {_money(position.margin, currency)}"
    )


def _money(value: float, currency: str) -> str:
    """Return an amount with its currency, where the venue names one."""
    return f"{price(value)} {currency}".rstrip()


def _basis(position: PositionPrices, entry_time: datetime, volatility: Volatility | None) -> list[tuple[str, str]]:
    """Return the basis of the prices, and what would keep the position from being opened."""
    currency = position.currency
    kept = position.maintenance_margin(position.entry_price)
    initial = 100 * position.initial_margin / position.entry_notional
    named = [
        ("entry notional", _money(position.entry_notional, currency)),
        ("initial margin", f"{_money(position.initial_margin, currency)} ({plain(initial, 4)} %)"),
        ("maintenance margin", f"{_money(kept, currency)}{_at_liquidation(position)}"),
        ("rate used", _rate(position)),
        ("table", _table(position, entry_time)),
        ("leverage limit", _limit(position)),
        ("takeover", _takeover(position)),
    ]
    if position.contract.tick:
        named.append(("tick", tick_sentence(position.contract)))
    if volatility is not None:
        named.append(
            (
                "volatility",
                f"{percentage(volatility.daily)} % a day: standard deviation of {volatility.returns:,} "
                f"log returns of closes, {timestamp(volatility.start)} to {timestamp(volatility.end)} UTC",
            )
        )
    return named + [("note", problem) for problem in position.problems]


def _at_liquidation(position: PositionPrices) -> str:
    """Return the price that the maintenance margin is taken at, and its amount at the liquidation price."""
    if position.contract.requirement_is_constant and not position.contract.mark_fee_rate:
        return ", whatever the mark price"
    if math.isnan(position.liquidation_price):
        return " at the entry price"
    there = position.maintenance_margin(position.liquidation_price)
    return f" at the entry price, {price(there)} at the liquidation price"


def _rate(position: PositionPrices) -> str:
    basis = "entry notional" if position.contract.requirement_is_constant else "notional at the mark price"
    rate = f"{plain(100 * position.rate, 6)} % of the {basis}"
    own = position.tier_table
    if not own.by_size:
        rate += f": {plain(own.rate_factor)} of the initial rate at {plain(position.leverage)}x"
    else:
        amount = 0.0 if own.amounts is None else float(own.amounts[position.tier])
        rate += f" less {price(amount)}" if amount else ""
        rate += f": tier {position.tier + 1} of {len(own)}"
    if position.contract.closing_fee != "none":
        where = position.contract.closing_fee.replace("_", " ")
        rate += f"; {plain(100 * position.contract.closing_fee_rate)} % closing fee reserved {where}"
        rate += ", which the margin includes" if position.contract.margin_includes_closing_fee else ""
    return rate


def _table(position: PositionPrices, entry_time: datetime) -> str:
    own, contract = position.tier_table, position.contract
    confidence = (
        f"assumed: {contract.like}'s, {contract.symbol} is not listed" if contract.like else own.confidence
    )
    if is_in_force(position.tier_source):
        dated = f"in force {own.period}" if own.dated == "announced" else own.period
        return f"{own.name}, {dated} ({confidence})"
    chosen = {"nearest": "the nearest in time", "named": "taken by its name"}.get(
        position.tier_source, f"chosen as the {position.tier_source}"
    )
    return f"{own.name}, not in force on {day(entry_time)}: {chosen}, {own.period} ({confidence})"


def _takeover(position: PositionPrices) -> str:
    venue = position.venue
    if venue.takeover_price == "backstop":
        return f"by a backstop, {plain(100 * venue.takeover_discount)} % worse than the liquidation price"
    if venue.takeover_price == "bankruptcy_with_fee" or position.contract.margin_includes_closing_fee:
        return "where equity is just the closing fee"
    return "at the bankruptcy price"


def _limit(position: PositionPrices) -> str:
    limit = position.leverage_limit
    return f"{plain(limit)}x at this size" if math.isfinite(limit) else "unknown: not in the sources"
