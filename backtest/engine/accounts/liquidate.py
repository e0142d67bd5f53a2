"""Liquidation of accounts under a venue's procedure, step by step.

A sweep of accounts says when each is triggered. Here its venue's procedure follows (``Venue.cross``): an account
that a step restores keeps its remaining positions, is tested from the next bar, and may be triggered again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from backtest.book.accounts import Accounts
from backtest.engine import columns
from backtest.engine.accounts.account import Coin, Part
from backtest.engine.accounts.prepare import Convention, Prepared, prepare
from backtest.engine.accounts.procedure import Account
from backtest.engine.accounts.run import run
from backtest.engine.accounts.whole_contracts import as_whole, require_whole, size_of_contract
from backtest.engine.input_warnings import warn_of_substitutes, warn_once
from backtest.engine.money import COIN_UNIT, QUOTE_UNIT, currency, units
from backtest.errors import RulesError
from backtest.kernel.accounts.search import LEAF
from backtest.kernel.accounts.sweep import Ends
from backtest.kernel.accounts.terms import COIN, Holdings, group_at
from backtest.kernel.choices import OutcomeCode
from backtest.kernel.types import Flags, Integers, readonly
from backtest.market.market import Market
from backtest.rules.cross import Cross
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.frames import Outcome, Side, Time
from backtest.shown import shown

AFTER = {
    "account_id": pl.Int64,
    "trigger": pl.Int64,  # counted from 1 for each account
    "time": Time,
    "step": pl.String,
    "wallet": pl.Float64,
    "equity": pl.Float64,  # as the profit rule counts it
    "maintenance_margin": pl.Float64,
    "initial_margin": pl.Float64,  # null where the leverage of a position is not known
    "positions": pl.Int64,  # left
    "restored": pl.Boolean,  # null where no position is left
}
CLOSED = {
    "account_id": pl.Int64,
    "trigger": pl.Int64,
    "time": Time,
    "step": pl.String,
    "leg_id": pl.Int64,  # null for collateral
    "symbol": pl.String,
    "side": Side,  # null for collateral
    "quantity": pl.Float64,
    "fill_price": pl.Float64,  # null where no price of an inverse contract uses up the equity
    "result": pl.Float64,  # into the wallet, funding and fees taken off
}


@shown()
class Liquidations(NamedTuple):
    """Outcomes of accounts under a venue's procedure."""

    accounts: pl.DataFrame
    """One row per account: its columns, ``outcome`` (liquidated: fully closed), ``outcome_time``,
    ``triggers``, ``first_trigger``, ``remainder`` (the wallet after a full close, or 0), ``shortfall``."""
    legs: pl.DataFrame  #: one row per leg: its columns and ``quantity_left`` by the procedure (0: closed)
    steps: pl.DataFrame  #: one row per step with an effect: the account after it, see ``AFTER``
    closed: pl.DataFrame  #: one row per closed part of a leg, or collateral, see ``CLOSED``


@checked
def liquidate_accounts(
    accounts: Accounts,
    market: Market,
    venue: Venue,
    *,
    convention: Convention = "joint_worst",
    cross: Cross | None = None,
    tiers: Tiers = "strict",
    threads: int | None = None,
) -> Liquidations:
    """Return the liquidation of accounts under a venue's procedure: closed positions, prices, remaining wallets.

    Parameters
    ----------
    accounts, market, venue, convention, tiers, threads
        As :func:`~backtest.sweep_accounts` takes them.
    cross
        The rules for accounts in cross margin; None: the venue's.

    Raises
    ------
    DataError, RulesError
        As :func:`~backtest.sweep_accounts`; for legs that are no whole number of contracts; where liquidation
        stops above the initial margin and no leverage gives that margin.

    Examples
    --------
    >>> from backtest import liquidate_accounts
    >>> liquidated = liquidate_accounts(accounts, market, venue)
    >>> liquidated.steps["step"].value_counts(sort=True).rows()
    [('close', 18)]
    >>> liquidated.accounts.select(pl.sum("remainder", "shortfall").round(0)).row(0)
    (5.0, 174.0)
    """
    cross = venue.cross if cross is None else cross
    warn_once(accounts, market)
    prepared = prepare(
        accounts, market, venue, convention=convention, profit=cross.profit, hedged=cross.hedged, bracket=False,
        tiers=tiers, threads=threads,
    )  # fmt: skip
    require_whole(accounts, [group.contract for group in prepared.rules.groups])
    warn_of_substitutes(accounts, prepared.rules, prepared.held.leg_groups)
    if cross.restored_above == "initial":
        _require_initial_margins(prepared)
    return _Follower(prepared, cross, threads).follow()


class _Follower:
    """Sweeps, liquidates, and sweeps again what was restored, until no account is triggered."""

    def __init__(self, prepared: Prepared, cross: Cross, threads: int | None) -> None:
        self.prepared, self.cross, self.threads = prepared, cross, threads
        self.unit = COIN_UNIT if prepared.bars.marks else QUOTE_UNIT
        accounts = prepared.accounts
        self.frame = accounts.accounts
        count = len(accounts)
        self.outcome, self.bar = np.full(count, OutcomeCode.OPEN), np.full(count, -1)
        self.triggers, self.first_trigger = np.zeros(count, np.int64), np.full(count, -1)
        self.left, self.order_margin = np.full(count, np.nan), np.zeros(count)
        if "order_margin" in self.frame.columns:
            self.order_margin = self.frame["order_margin"].to_numpy().copy()
        self.quantity = accounts.legs["quantity"].to_numpy().copy()
        self.units = accounts.collateral["quantity"].to_numpy().copy()
        self.lots = {own.symbol: size_of_contract(own.contract) for own in prepared.rules.groups}
        self.steps: list[tuple[Any, ...]] = []
        self.closed: list[tuple[Any, ...]] = []

    def follow(self) -> Liquidations:
        who, held = np.arange(len(self.prepared.accounts)), self.prepared.held.arrays
        leg, coin = self.prepared.held.leg, self.prepared.held.coin
        while who.size:
            ends = run(self.prepared, self.threads, held, who)
            self.outcome[who], self.bar[who] = ends.outcome, ends.bar
            triggered = np.flatnonzero(ends.outcome == OutcomeCode.LIQUIDATED)
            wallets, kept = held.wallet.copy(), np.zeros(who.size, np.bool_)
            quantity = held.quantity.copy()
            for i in triggered:
                rows = _held_at(held, int(i), int(ends.bar[i]))
                account = self._account(held, ends, int(i), int(who[i]), rows, leg, coin)
                account.liquidate()
                self._note(account, int(who[i]), int(ends.bar[i]))
                for part in account.parts:
                    self.quantity[part.row] = part.quantity
                for one in account.coins:
                    self.units[one.row] = one.units
                wallets[i], kept[i] = currency(account.wallet, self.unit), bool(account.positions())
            owned = leg >= 0
            quantity[owned], quantity[~owned] = self.quantity[leg[owned]], self.units[coin[~owned]]
            held = held._replace(quantity=quantity, wallet=wallets)
            held, rows = _restored(held, kept, ends.bar)
            leg, coin, who = leg[rows], coin[rows], who[kept]
        return self._named()

    def _account(
        self, held: Holdings, ends: Ends, i: int, who: int, rows: Integers, leg: Integers, coin: Integers
    ) -> Account:
        """Return an account at the prices that trigger it."""
        leaf = self.prepared.bars.arrays.leaf
        bars, bar = self.prepared.bars.times.size, int(ends.bar[i])
        marks = self.prepared.bars.price_of(held.symbol[rows], np.full(rows.size, bar), ends.fill_price[rows])
        given = "leverage" in self.prepared.accounts.legs.columns
        account = Account(
            rules=self.prepared.rules.rules,
            wallet=units(ends.wallet[i], self.unit), parts=[], coins=[], mark={}, price={}, funding={},
            order_margin=units(self.order_margin[who], self.unit), cross=self.cross, profit=self.cross.profit,
            strict=self.prepared.options.strict, unit=self.unit,
            inverse=frozenset(self.prepared.bars.marks),
            triggered=frozenset((int(held.symbol[row]), _side(held, row)) for row in rows[ends.triggered[rows]]),
        )  # fmt: skip
        for row, mark in zip(rows, marks.tolist(), strict=True):
            symbol = int(held.symbol[row])
            account.mark[symbol] = mark
            account.price[symbol] = float(ends.fill_price[row])
            account.funding[symbol] = float(leaf[(symbol * bars + bar) * LEAF + 3])
            if held.kind[row] == COIN:
                first, stop = held.haircut_first[symbol], held.haircut_first[symbol + 1]
                shares = tuple(zip(held.share[first:stop].tolist(), held.credit[first:stop].tolist(), strict=True))
                account.coins.append(Coin(int(coin[row]), symbol, float(held.quantity[row]), shares))
            else:
                account.parts.append(
                    Part(
                        row=int(leg[row]), symbol=symbol, side=_side(held, row),
                        quantity=as_whole(float(held.quantity[row]), self.lots[symbol]), lot=self.lots[symbol],
                        entry_price=float(held.entry_price[row]), entry_funding=float(held.entry_funding[row]),
                        leverage=float(held.leverage[row]) if given else np.nan,
                        group=int(group_at(held, self.prepared.rules.rules, held.group[row], bar)),
                    )
                )  # fmt: skip
        return account

    def _note(self, account: Account, who: int, bar: int) -> None:
        """Record a step of an account."""
        self.triggers[who] += 1
        self.first_trigger[who] = bar if self.first_trigger[who] < 0 else self.first_trigger[who]
        self.order_margin[who] = account.currency(account.order_margin)
        number, trigger = self.frame["account_id"][who], int(self.triggers[who])
        time = int(self.prepared.bars.times[bar])
        if not account.positions():
            worth = sum(account.units(coin.units * account.price[coin.symbol]) for coin in account.coins)
            self.left[who] = account.currency(account.wallet + account.order_margin + worth)
        for after in account.steps:
            looked = after.looked
            money = (after.wallet, looked.equity, looked.maintenance_margin, looked.initial_margin)
            shown = [None if amount is None else account.currency(amount) for amount in money]
            self.steps.append((number, trigger, time, after.step, *shown, after.positions, after.restored))
        legs, coins = self.prepared.accounts.legs, self.prepared.accounts.collateral
        for part in account.closed:
            frame, row = (legs, part.leg) if part.leg >= 0 else (coins, part.coin)
            named = (legs["leg_id"][row], frame["symbol"][row], legs["side"][row]) if part.leg >= 0 else None
            one = named or (None, frame["symbol"][row], None)
            self.closed.append(
                (number, trigger, time, part.step, *one, part.quantity, part.price, account.currency(part.result))
            )

    def _named(self) -> Liquidations:
        times = np.append(self.prepared.bars.times, 0)

        def moments(bar: Integers) -> pl.Series:
            return columns.times(times[np.where(bar < times.size, bar, -1)], (bar >= 0) & (bar < times.size - 1))

        liquidated = self.outcome == OutcomeCode.LIQUIDATED
        left = columns.numbers(np.where(liquidated, self.left, np.nan))
        frame = self.frame.with_columns(
            outcome=columns.categories(Outcome, self.outcome),
            outcome_time=moments(np.where(self.outcome == OutcomeCode.OPEN, -1, self.bar)),
            triggers=pl.Series(self.triggers),
            first_trigger=moments(self.first_trigger),
            remainder=pl.lit(left).clip(lower_bound=0.0),
            shortfall=(-pl.lit(left)).clip(lower_bound=0.0) + 0.0,
        )
        legs = self.prepared.accounts.legs.with_columns(quantity_left=pl.Series(self.quantity))
        ids = {"account_id": self.frame.schema["account_id"], "leg_id": legs.schema["leg_id"]}
        after, closed = ({name: ids.get(name, dtype) for name, dtype in all_.items()} for all_ in (AFTER, CLOSED))
        return Liquidations(frame, legs, _framed(self.steps, after), _framed(self.closed, closed))


def _require_initial_margins(prepared: Prepared) -> None:
    """Refuse legs without a selected leverage under tables without a highest one."""
    if "leverage" in prepared.accounts.legs.columns:
        return
    for number in np.unique(prepared.held.arrays.group[prepared.held.leg >= 0]):
        group = prepared.rules.groups[number]
        if not np.isfinite(group.table.max_leverages).all():
            raise RulesError(
                f"cross.restored_above: the initial margin of {group.contract.symbol} is not known: its table "
                f"{group.table.name!r} states no highest leverage, and legs have no column leverage"
            )


def _side(held: Holdings, row: int) -> float:
    return 1.0 - 2.0 * float(held.kind[row])


def _held_at(held: Holdings, i: int, bar: int) -> Integers:
    """Return the rows an account holds in a bar."""
    rows = np.arange(held.first[i], held.first[i + 1])
    return rows[(held.start[rows] <= bar) & (bar < held.end[rows])]


def _restored(held: Holdings, kept: Flags, bar: Integers) -> tuple[Holdings, Integers]:
    """Return the holdings of restored accounts after a bar, and the remaining rows."""
    owner = np.repeat(np.arange(kept.size), np.diff(held.first))
    rows = np.flatnonzero(kept[owner] & (held.quantity != 0) & (held.end > bar[owner]))
    payer = np.repeat(np.arange(kept.size), np.diff(held.transfer_first))
    moves = np.flatnonzero(kept[payer] & (held.transfer_bar > bar[payer]))
    number = np.cumsum(kept) - 1
    count = np.arange(int(kept.sum()) + 1)
    by_row = ("kind", "symbol", "start", "end", "quantity", "entry_price", "entry_funding", "exit_price",
              "exit_funding", "group", "leverage")  # fmt: skip
    changed = {name: readonly(getattr(held, name)[rows]) for name in by_row}
    return held._replace(
        first=readonly(np.searchsorted(number[owner[rows]], count)),
        wallet=readonly(held.wallet[kept]),
        since=readonly(bar[kept] + 1),
        transfer_first=readonly(np.searchsorted(number[payer[moves]], count)),
        transfer_bar=readonly(held.transfer_bar[moves]),
        transfer=readonly(held.transfer[moves]),
        **changed,
    ), rows


def _framed(rows: list[tuple[Any, ...]], columns: dict[str, Any]) -> pl.DataFrame:
    numbers = {name: pl.Int64 if dtype == Time else dtype for name, dtype in columns.items()}
    frame = pl.DataFrame(rows, schema=numbers, orient="row")
    return frame.with_columns(frame[name].cast(dtype) for name, dtype in columns.items())
