"""Outcomes of accounts and their legs, as frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import columns
from backtest.engine.accounts.bar_grid import GridBars
from backtest.engine.accounts.prepare import Prepared
from backtest.engine.notional import contract_kind, entry_notional
from backtest.engine.outcomes import price_venue, tiers_of
from backtest.kernel.accounts.search import LEAF
from backtest.kernel.accounts.sweep import Ends
from backtest.kernel.arrays import NO_TIME
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.types import Floats, Integers
from backtest.rules.rulebook import groups_after
from backtest.schemas.frames import Outcome
from backtest.shown import shown

NOTHING = len(Outcome.categories)  # no outcome: a leg that was never opened


@shown()
class AccountOutcomes(NamedTuple):
    """Outcomes of accounts and of their legs."""

    accounts: pl.DataFrame  #: one row per account: its columns, then those of ``schemas.ACCOUNT_OUTCOME_COLUMNS``
    legs: pl.DataFrame  #: one row per leg: its columns, then those of ``schemas.LEG_OUTCOME_COLUMNS``


def named(prepared: Prepared, ends: Ends, *, bracket: bool) -> AccountOutcomes:
    """Return the frames of accounts and legs with their outcome columns."""
    origin = price_venue(prepared.market)
    accounts = _accounts(prepared.accounts, prepared.bars, ends, bracket)
    return AccountOutcomes(
        accounts.with_columns(price_venue=origin), _legs(prepared, ends).with_columns(price_venue=origin)
    )


def _accounts(accounts: Accounts, bars: GridBars, ends: Ends, bracket: bool) -> pl.DataFrame:
    frame = accounts.accounts
    liquidated = ends.outcome == OutcomeCode.LIQUIDATED
    at_fill = ends.equity_at_fill
    if "order_margin" in frame.columns:
        at_fill = at_fill + frame["order_margin"].to_numpy()
    at_fill = np.where(liquidated, at_fill, np.nan)
    shortfall = np.where(liquidated, np.maximum(0.0, -at_fill), np.nan)
    earliest, latest = ends.earliest, ends.latest
    ambiguous: Any = pl.Series((earliest >= 0) != (latest >= 0))
    if not bracket:
        earliest, latest = np.full(len(accounts), -1), np.full(len(accounts), -1)
        ambiguous = pl.Series([None] * len(accounts), dtype=pl.Boolean)
    return frame.with_columns(
        outcome=columns.categories(Outcome, ends.outcome),
        liquidated=pl.Series(liquidated),
        outcome_time=_times(bars, np.where(ends.outcome == OutcomeCode.OPEN, -1, ends.bar)),
        earliest_liquidation=_times(bars, earliest),
        latest_liquidation=_times(bars, latest),
        equity=columns.numbers(np.where(liquidated, ends.left_over + ends.maintenance_margin, np.nan)),
        maintenance_margin=columns.numbers(np.where(liquidated, ends.maintenance_margin, np.nan)),
        equity_at_fill=columns.numbers(at_fill),
        shortfall=columns.numbers(shortfall),
        ambiguous=ambiguous,
    )


def _legs(prepared: Prepared, ends: Ends) -> pl.DataFrame:
    accounts, bars, held = prepared.accounts, prepared.bars, prepared.held
    contracts = [group.contract for group in prepared.rules.groups]
    rows = np.flatnonzero(held.leg >= 0)
    place = np.empty(rows.size, np.int64)
    place[held.leg[rows]] = rows  # row of each leg, in the order given
    account, arrays = held.account[place], held.arrays
    start, end, last = arrays.start[place], arrays.end[place], ends.bar[account]
    ended = ends.outcome[account]
    never = (start > last) | (start == bars.times.size)
    exited = ~never & (end <= last) & (end < bars.times.size)
    outcome = np.where(never, NOTHING, np.where(exited, OutcomeCode.EXITED, ended))
    liquidated = outcome == OutcomeCode.LIQUIDATED
    bar = np.where(exited, end, np.where(never | (outcome == OutcomeCode.OPEN), -1, last))
    symbol = arrays.symbol[place]
    value = np.where(exited, arrays.exit_price[place], np.where(liquidated, ends.fill_price[place], np.nan))
    mark = bars.price_of(symbol, last, np.where(liquidated, value, np.nan))
    price = np.where(exited, held.exit_mark[place], mark)
    tested = np.where(liquidated, last, last - 1)
    sums = np.where(tested >= start, _funding(bars, symbol, tested), arrays.entry_funding[place])
    sums = np.where(exited, arrays.exit_funding[place], sums)
    signed = (1.0 - 2.0 * arrays.kind[place]) * arrays.quantity[place]
    paid = np.where(never, np.nan, signed * (sums - arrays.entry_funding[place]))
    return accounts.legs.with_columns(
        leg_outcome=columns.categories(Outcome, outcome),
        leg_outcome_time=_times(bars, bar),
        triggered=pl.Series(liquidated & ends.triggered[place]),
        fill_price=columns.numbers(price),
        funding_paid=columns.numbers(paid),
        realised_pnl=columns.numbers(signed * (value - arrays.entry_price[place]) - paid),
        entry_notional=entry_notional(contracts),
        contract_kind=contract_kind(contracts),
        **tiers_of(prepared.rules, _last_groups(prepared, ends, place)),
    )


def _last_groups(prepared: Prepared, ends: Ends, place: Integers) -> Integers:
    """Return the groups of the rules that legs were last held under."""
    arrays, bars, account = prepared.held.arrays, prepared.bars, prepared.held.account[place]
    whole = ends.outcome[account] == OutcomeCode.LIQUIDATED
    last = np.minimum(np.where(whole, ends.bar[account], ends.bar[account] - 1), arrays.end[place] - 1)
    moment = np.where(last >= arrays.start[place], bars.times[np.maximum(last, 0)], NO_TIME)
    return groups_after(prepared.rules.rules, arrays.group[place], moment)


def _funding(bars: GridBars, symbol: Integers, bar: Integers) -> Floats:
    """Return F of symbols in bars; of a bar before the first, that of the first."""
    found = bars.arrays.leaf[(symbol * bars.times.size + np.maximum(bar, 0)) * LEAF + 3]
    return np.asarray(found)


def _times(bars: GridBars, bar: Integers) -> pl.Series:
    return columns.times(np.append(bars.times, 0)[bar], bar >= 0)
