"""What ``account_prices`` gives: frames of accounts, of the symbols they hold and of their positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from backtest.amounts import price as written
from backtest.book.accounts import Accounts
from backtest.engine.accounts.at_marks import AtMarks
from backtest.errors import ArgumentError
from backtest.kernel.choices import ContractKind
from backtest.kernel.types import Flags, Floats, Integers
from backtest.rules.venue import Venue
from backtest.schemas.categories import Side

#: Name of the common factor among volatilities.
COMMON = "common"


@dataclass(frozen=True, eq=False)
class Solved:
    """Nearest liquidations of accounts as factors on prices, NaN where there is none."""

    left_over: Floats  #: (accounts,) equity less maintenance margin, of the position that may use least
    liquidated: Flags
    below: Floats  #: (accounts,) of all prices together
    above: Floats
    pair_account: Integers  #: (pairs,) an account and a symbol that it holds
    pair_symbol: Integers
    pair_below: Floats
    pair_above: Floats


@dataclass(frozen=True, eq=False)
class AccountPrices:
    """Accounts in cross margin as they are now; amounts in settlement currency, null where no price liquidates.

    Examples
    --------
    >>> from backtest import account_prices
    >>> found = account_prices(accounts, venue, {"BTCUSDT": 40_000})
    >>> found.accounts.columns[2:]  # doctest: +NORMALIZE_WHITESPACE
    ['equity', 'maintenance_margin', 'equity_ratio', 'account_value', 'liquidated', 'factor_below', 'factor_above']
    """

    venue: Venue
    #: the accounts' own columns; ``equity`` that counts as margin, ``maintenance_margin``, ``equity_ratio``
    #: (equity over maintenance margin; many venues show its reciprocal), ``account_value`` (equity with all
    #: profit and no haircut), ``liquidated`` (at these marks), ``factor_below`` and ``factor_above`` on all prices
    accounts: pl.DataFrame
    #: ``account_id, symbol, mark_price``, liquidation prices ``price_below`` and ``price_above`` with the others
    #: still, and ``move_below``, ``move_above`` as fractions of the mark price
    symbols: pl.DataFrame
    #: ``account_id, symbol, side, quantity, entry_price, mark_price, notional, unrealised_result,
    #: maintenance_margin``, bankruptcy prices with the account's value shared ``by_notional`` and
    #: ``by_maintenance`` margin, ``tier_table``, ``tier_source``
    positions: pl.DataFrame

    def __repr__(self) -> str:
        shown = [
            f"{row['symbol']} {_nearest(row['price_below'], row['price_above'])}"
            for row in self.symbols.head(2).iter_rows(named=True)
        ]
        count = f"{self.accounts.height:,} accounts, {self.positions.height:,} positions"
        return f"AccountPrices({self.venue.name}, {count}\n  {'; '.join(shown)})"

    def _repr_html_(self) -> str:
        return str(self.symbols._repr_html_())


def frames_of(
    accounts: Accounts, venue: Venue, now: AtMarks, solved: Solved, volatility: Mapping[str, float] | None
) -> AccountPrices:
    """Return the frames of solved accounts."""
    held, mark = now.held, now.mark[: now.held.account.size]
    x = np.where(held.inverse, 1 / mark, mark)
    maintenance = -now.needs.at(x)
    result = held.rising * (held.quantity * x - held.cost) + 0.0  # no -0
    value = now.wallet + now.held_back + np.bincount(held.account, result, minlength=now.wallet.size)
    coin_mark = now.mark[held.account.size :]
    value = value + np.bincount(now.coin_account, now.coin_quantity * coin_mark, minlength=value.size)
    needed = np.bincount(held.account, maintenance, minlength=value.size)
    equity = solved.left_over + needed
    rows = accounts.accounts.with_columns(
        equity=pl.Series(equity),
        maintenance_margin=pl.Series(needed),
        equity_ratio=pl.Series(equity / needed),
        account_value=pl.Series(value),
        liquidated=pl.Series(solved.liquidated),
        factor_below=_known(solved.below),
        factor_above=_known(solved.above),
    )
    symbols = _symbols(accounts, now, solved)
    if volatility is not None:
        symbols, rows = _in_days(symbols, rows, volatility)
    return AccountPrices(venue, rows, symbols, _positions(accounts, now, mark, result, maintenance, value))


def _symbols(accounts: Accounts, now: AtMarks, solved: Solved) -> pl.DataFrame:
    """Return a row for each symbol that an account holds, in order of accounts and symbols."""
    count = len(now.symbols)
    pairs, first = np.unique(now.account * count + now.symbol, return_index=True)
    mark = now.mark[first][np.searchsorted(pairs, solved.pair_account * count + solved.pair_symbol)]
    found = pl.DataFrame(
        {
            "account_id": accounts.accounts["account_id"].gather(solved.pair_account),
            "symbol": np.array(now.symbols, object)[solved.pair_symbol].astype(str),
            "mark_price": mark,
            "price_below": _known(mark * solved.pair_below),
            "price_above": _known(mark * solved.pair_above),
        }
    )
    return found.with_columns(
        move_below=pl.col("price_below") / pl.col("mark_price") - 1,
        move_above=pl.col("price_above") / pl.col("mark_price") - 1,
    )


def _positions(
    accounts: Accounts, now: AtMarks, mark: Floats, result: Floats, maintenance: Floats, value: Floats
) -> pl.DataFrame:
    held, groups = now.held, now.rules.groups
    face = now.rules.rules.kind[held.group] == ContractKind.FACE_VALUE
    notional = np.where(held.inverse, held.quantity / mark, held.quantity * np.where(face, 1.0, mark))
    shares = {"notional": notional, "maintenance": maintenance}
    bankrupt = {f"bankruptcy_price_by_{name}": _bankrupt(now, mark, each, value) for name, each in shares.items()}
    return pl.DataFrame(
        {
            "account_id": accounts.accounts["account_id"].gather(held.account),
            "symbol": np.array(now.symbols, object)[held.symbol].astype(str),
            "side": pl.Series(np.where(held.side > 0, "long", "short")).cast(Side),
            "quantity": held.quantity,
            "entry_price": held.entry_price,
            "mark_price": mark,
            "notional": notional,
            "unrealised_result": result,
            "maintenance_margin": maintenance,
            **bankrupt,
            "tier_table": [groups[number].table.name for number in held.group],
            "tier_source": [groups[number].tier_source for number in held.group],
        }
    )


def _bankrupt(now: AtMarks, mark: Floats, share: Floats, value: Floats) -> pl.Series:
    """Return the prices at which positions lose their shares of the account's value."""
    held = now.held
    whole = np.bincount(held.account, share, minlength=value.size)
    own = value[held.account] * share / whole[held.account]
    x = np.where(held.inverse, 1 / mark, mark) - held.rising * own / held.quantity
    x = np.where(x > 0, x, np.nan)
    return _known(np.where(held.inverse, 1 / x, x))


def _in_days(
    symbols: pl.DataFrame, rows: pl.DataFrame, volatility: Mapping[str, float]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add distances in days of volatility."""
    known = set(symbols["symbol"].unique()) | {COMMON}
    strange = sorted(set(volatility) - known)
    if strange:
        raise ArgumentError(
            f"{strange[0]!r} is held by no account, and is not {COMMON!r}", argument="daily_volatility"
        )
    wrong = [(name, value) for name, value in volatility.items() if not 0 < value < np.inf]
    if wrong:
        raise ArgumentError(
            f"of {wrong[0][0]} must be a finite number above zero, is {wrong[0][1]!r}", argument="daily_volatility"
        )
    own = pl.col("symbol").replace_strict(dict(volatility), default=None, return_dtype=pl.Float64)
    days = {
        f"days_{side}": (pl.col(f"price_{side}") / pl.col("mark_price")).log().abs() / own
        for side in ("below", "above")
    }
    common = pl.lit(volatility.get(COMMON), pl.Float64)
    together = {f"days_{side}": pl.col(f"factor_{side}").log().abs() / common for side in ("below", "above")}
    return symbols.with_columns(**days), rows.with_columns(**together)


def _known(values: Floats) -> pl.Series:
    return pl.Series(values).fill_nan(None)


def _nearest(below: float | None, above: float | None) -> str:
    sides = [f"below {written(below)}" if below is not None else "", f"above {written(above)}" if above else ""]
    return ", ".join(filter(None, sides)) or "no liquidation price"
