"""``backtest price --account``: liquidation and bankruptcy prices of an account in cross margin."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from backtest.amounts import NOTHING, column, day, number, plain, price
from backtest.book import Accounts
from backtest.cli.common import types
from backtest.cli.common.changed_rules import read_venue
from backtest.cli.common.text import facts, table
from backtest.cli.price.account_file import AccountFile, read_account
from backtest.engine.accounts.account_view import AccountPrices
from backtest.engine.accounts.cross_prices import account_prices
from backtest.errors import ArgumentError
from backtest.rules.contract import Contract, on_tick, tick_sentence

#: Options of one isolated position.
OF_POSITION = ("side", "entry_price", "quantity", "leverage", "margin", "symbol", "table", "positions")

#: Words of a leg on the command line; a leverage may follow.
LEG = ("symbol", "side", "quantity", "entry_price")


def run(options: Namespace) -> None:
    """Print equity, margin ratio, liquidation and bankruptcy prices of an account."""
    for name in OF_POSITION:
        if getattr(options, name) is not None:
            raise ArgumentError("is for one position, not for an account", argument=name)
    venue = read_venue(options)
    given = read_account(options.account) if options.account is not None else AccountFile()
    accounts, prices = _accounts(options, given), dict(given.prices)
    volatility = None
    if options.bars is not None:
        from backtest.cli.price.volatility import closes_and_volatility

        held = tuple(dict.fromkeys([*accounts.symbols, *accounts.coins]))
        closes, volatility = closes_and_volatility(options.bars, held, end=options.at, window=options.window)
        prices = closes | prices
    prices |= dict(read_mark(*each) for each in options.mark or ())
    found = account_prices(
        accounts,
        venue,
        prices,
        tiers=options.tiers or ("nearest" if options.date is None else "strict"),
        daily_volatility=volatility,
    )
    currency = venue.settlement_of(accounts.symbols[0])
    print(f"{venue.title}: account in cross margin, wallet {_money(found.accounts['wallet'][0], currency)}")
    print(f"\n{facts(_state(found, currency), indent='')}")
    print(f"\n{liquidation_table(found)}")
    print(f"\n{position_table(found, currency)}")
    levered = "leverage" in accounts.legs.columns
    print(f"\n{facts(_basis(found, options, prices, levered=levered), indent='')}")


def _accounts(options: Namespace, given: AccountFile) -> Accounts:
    """Return the account of the file and of the legs and wallet on the command line."""
    legs = [*given.legs, *(_leg(words) for words in options.leg or ())]
    wallet = given.wallet if options.wallet is None else options.wallet
    if not legs:
        raise ArgumentError("holds no legs: give it some, or --leg", argument="account")
    if wallet is None:
        raise ArgumentError("is needed, in the account file or here", argument="wallet")
    entry_time = options.date or datetime.now(UTC).replace(microsecond=0)
    rows = [{"account_id": 0, "entry_time": entry_time, **leg} for leg in legs]
    frame = _typed(rows)
    if "leverage" in frame.columns and frame["leverage"].is_null().any():
        raise ArgumentError("legs need a leverage each, or none of them", argument="account")
    coins = _typed([{"account_id": 0, **coin} for coin in given.collateral]) if given.collateral else None
    return Accounts(pl.DataFrame({"account_id": [0], "wallet": [wallet]}), frame, collateral=coins)


def _typed(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame whose numbers are fractions, however they were written."""
    known = {name for row in rows for name in row}
    numbers = known & {"quantity", "entry_price", "leverage", "margin", "haircut"}
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64), infer_schema_length=None)


def _leg(words: list[str]) -> dict[str, Any]:
    """Return a leg from its words: symbol, side, quantity, entry price, and a leverage or none."""
    if len(words) not in (len(LEG), len(LEG) + 1):
        raise ArgumentError(
            f"must be SYMBOL SIDE QUANTITY PRICE, or with a leverage after them, is {' '.join(words)!r}",
            argument="leg",
        )
    symbol, side, *numbers = words
    named = zip(("quantity", "entry_price", "leverage"), numbers, strict=False)
    values = {
        name: _read(types.leverage if name == "leverage" else types.positive, word, "leg", f"{name} ")
        for name, word in named
    }
    return {"symbol": symbol, "side": side, **values}


def read_mark(symbol: str, text: str) -> tuple[str, float]:
    """Return a symbol and its mark price."""
    return symbol, _read(types.positive, text, "mark", f"of {symbol} ")


def _read(kind: Callable[[str], float], text: str, argument: str, subject: str) -> float:
    """Return the number of a word as its kind reads it."""
    try:
        return kind(text)
    except ArgumentTypeError as error:
        raise ArgumentError(f"{subject}{error}", argument=argument) from None


def _state(found: AccountPrices, currency: str) -> list[tuple[str, str]]:
    """Return equity, requirement and their ratio by either convention."""
    row = found.accounts.row(0, named=True)
    equity, needed = row["equity"], row["maintenance_margin"]
    ratio = f"{100 * needed / equity:,.2f} %" if equity > 0 else "above 100 %"
    state = ": it is liquidated at these prices" if row["liquidated"] else ""
    return [
        ("equity", f"{_money(equity, currency)}{state}"),
        ("maintenance margin", _money(needed, currency)),
        (
            "margin ratio",
            f"{ratio} (maintenance margin over equity: 100 % liquidates), or {row['equity_ratio']:,.2f} "
            "(equity over maintenance margin, as OKX and Ascend show it)",
        ),
    ]


def liquidation_table(found: AccountPrices) -> str:
    """Return liquidation prices below and above the marks, of each symbol and of all together."""
    rows, common = found.symbols, found.accounts.row(0, named=True)
    days = "days_below" in rows.columns
    header = ["liquidated at", "mark price"]
    columns = [[*rows["symbol"], "all prices"], [*column(rows["mark_price"].to_list()), NOTHING]]
    for side in ("below", "above"):
        factor = common[f"factor_{side}"]
        header += [f"{side}", "from mark\n%"]
        columns.append([*column(_on_ticks(found, side)), NOTHING if factor is None else f"x {plain(factor, 4)}"])
        moves = [*rows[f"move_{side}"], None if factor is None else factor - 1]
        columns.append([NOTHING if move is None else f"{100 * move:+,.2f}" for move in moves])
        if days:
            header.append("days of\nvolatility")
            columns.append([number(value, 2) for value in (*rows[f"days_{side}"], common[f"days_{side}"])])
    return table(header, zip(*columns, strict=True))


def _on_ticks(found: AccountPrices, side: str) -> list[float | None]:
    """Return liquidation prices to the venue's digits: below the mark as a long's, above it as a short's."""
    traded, sign = set(found.positions["symbol"]), 1 if side == "below" else -1
    return [
        price
        if price is None or symbol not in traded
        else float(on_tick(found.venue.contract(symbol), price, sign)[0])
        for symbol, price in found.symbols.select("symbol", f"price_{side}").iter_rows()
    ]


def position_table(found: AccountPrices, currency: str) -> str:
    """Return the positions, with their bankruptcy prices by both ways to share the account's value."""
    rows = found.positions
    header = [
        "position", "side", "quantity", "entry\nprice", f"notional\n{currency}", f"result\n{currency}",
        f"maintenance\n{currency}", "bankrupt, shared\nby notional", "bankrupt, shared\nby maintenance",
    ]  # fmt: skip
    names = ("entry_price", "notional", "unrealised_result", "maintenance_margin")
    columns = [
        rows["symbol"].to_list(),
        rows["side"].cast(pl.String).to_list(),
        [plain(value) for value in rows["quantity"]],
        *(column(rows[name].to_list()) for name in names),
        *(column(rows[f"bankruptcy_price_by_{name}"].to_list()) for name in ("notional", "maintenance")),
    ]
    return table(header, zip(*columns, strict=True), left=2)


def _basis(
    found: AccountPrices, options: Namespace, prices: Mapping[str, float], *, levered: bool
) -> list[tuple[str, str]]:
    """Return what the prices rest on; ``levered``: legs have a leverage."""
    tables = dict.fromkeys(
        f"{row['symbol']} {row['tier_table']} ({row['tier_source']})"
        for row in found.positions.iter_rows(named=True)
    )
    entered = [symbol for symbol in found.symbols["symbol"] if symbol not in prices]
    marks = f"average entry prices of {', '.join(entered)}" if entered else "as given"
    if options.bars is not None:
        until = "" if options.at is None else f" until {day(options.at)}"
        marks = f"last closes of {options.bars}{until}, where none is given"
    named = [
        ("tables", ", ".join(tables)),
        ("marks", marks),
        ("profit", f"{found.venue.cross.profit}: whose unrealised profit is margin"),
        ("funding", "not counted"),
    ]
    contracts = [found.venue.contract(symbol) for symbol in found.positions["symbol"].unique(maintain_order=True)]
    fees = [sentence for contract in contracts if (sentence := _closing_fee(contract, levered))]
    if fees:
        named.append(("closing fee", "; ".join(fees)))
    ticks = [f"{contract.symbol} {tick_sentence(contract)}" for contract in contracts if contract.tick]
    if ticks:
        named.append(("tick", "; ".join(ticks)))
    days = found.symbols.columns
    if "days_below" in days:
        named.append(("volatility", _volatility(options)))
    return named


def _closing_fee(contract: Contract, levered: bool) -> str:
    """Return what the maintenance margin holds for the closing fee; nothing where there is none."""
    rate = f"{contract.symbol} {plain(100 * contract.closing_fee_rate)} %"
    if contract.closing_fee == "none":
        return ""
    if contract.closing_fee == "at_mark":
        return f"{rate} of the notional at the mark, in the maintenance margin"
    if levered or contract.kind == "inverse":
        margin = "the leverage's initial margin" if levered else "the wallet"
        return f"{rate} at the price where {margin} is lost, in the maintenance margin"
    return f"{rate} left out: at which price it is reserved needs a leverage"


def _volatility(options: Namespace) -> str:
    return (
        f"of a day, over the last {plain(options.window)} days of {options.bars}; of all prices together that of "
        "the mean of their log returns"
    )


def _money(value: float, currency: str) -> str:
    return f"{price(value)} {currency}".rstrip()
