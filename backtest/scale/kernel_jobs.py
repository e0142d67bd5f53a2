"""Small jobs that compile the kernels: one position each, together using every kernel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from backtest.book.accounts import Accounts
from backtest.book.book import Book
from backtest.engine.accounts.alerts import replay_alerts
from backtest.engine.accounts.liquidate import liquidate_accounts
from backtest.engine.accounts.sweep import sweep_accounts
from backtest.engine.replay.replay import replay
from backtest.engine.sweep.lifetimes import lifetimes
from backtest.engine.sweep.sweep import sweep
from backtest.kernel.compile import FEW
from backtest.market.market import Market
from backtest.population.open_interest import from_volume
from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.procedure import Impact
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.study.holders.account_paths import account_path
from backtest.study.levels.grid import level_grid
from backtest.study.levels.levels import levels_of
from backtest.study.liquidations.feed_throttling import visible
from backtest.study.partial_sums.arrays import more_room, room
from backtest.study.partial_sums.outcomes import condense, condense_ends

START = datetime(2021, 5, 19, tzinfo=UTC)
MANY = FEW + 1  #: prices of fewer positions are computed as plain Python
MINUTE = timedelta(minutes=1)
TABLE = TierTable(name="any", rates=pl.Series([0.01]).to_numpy())
CONTRACT = Contract(symbol="X", tables=(TABLE,))
VENUE = Venue(name="any", title="Any", contracts={"X": CONTRACT})


def _market() -> Market:
    prices = {"open": [1.0, 1.0, 0.5], "high": [1.0, 1.0, 0.5], "low": [1.0, 0.5, 0.5], "close": [1.0, 0.5, 0.5]}
    times = [START, START + MINUTE, START + 2 * MINUTE]
    return Market(pl.DataFrame({"symbol": ["X"] * 3, "time": times, "volume": [1.0] * 3, **prices}))


def _positions() -> pl.DataFrame:
    held = {"position_id": [0], "symbol": ["X"], "side": ["long"], "entry_time": [START]}
    return pl.DataFrame({**held, "entry_price": [1.0], "quantity": [1.0], "leverage": [2.0]})


def sweeps() -> None:
    """Sweep a position, once as it is and once with a planned exit, and add up the outcomes."""
    market, positions = _market(), _positions()
    outcomes = sweep(Book(positions), market, VENUE, threads=1)
    condense(outcomes), condense_ends(outcomes, market), more_room(room(1), 0)
    sweep(Book(positions.with_columns(exit_time=START + MINUTE)), market, VENUE, threads=1)


def studies() -> None:
    """Count levels and lifetimes, draw paths, estimate a book from volume, throttle a feed, compute prices."""
    _market().refined(2)
    market, book = _market(), Book(_positions())
    levels_of(book, market, VENUE, level_grid(market, "X"), drift=True, threads=1)
    lifetimes(market, VENUE, leverages=[2.0], threads=1)
    from_volume(market, VENUE, leverage_mix={2.0: 1.0}, threads=1)
    outcomes = sweep(book, market, VENUE, leverage_limit="cap", threads=1)
    visible(outcomes, ["symbol"], rule="latest"), visible(outcomes, ["symbol"], rule="largest")
    position = {"side": 1, "quantity": 1, "entry_price": 1, "margin": [0.5] * MANY}
    margin.liquidation_price(CONTRACT, TABLE, **position), margin.bankruptcy_price(CONTRACT, **position)
    margin.initial_margin(CONTRACT, side=1, quantity=1, entry_price=1, leverage=[2] * MANY)
    margin.equity(CONTRACT, **position, price=1), margin.maintenance_margin(CONTRACT, TABLE, **position, price=1)


def accounts() -> None:
    """Sweep an account in cross margin, follow its venue's procedure, its alerts and its equity."""
    market, legs = _market(), _positions().rename({"position_id": "leg_id"}).with_columns(account_id=0)
    wallets = Accounts(pl.DataFrame({"account_id": [0], "wallet": [0.2]}), legs)
    sweep_accounts(wallets, market, VENUE, threads=1)
    liquidate_accounts(wallets, market, VENUE, threads=1)
    replay_alerts(wallets, market, VENUE, threads=1)
    account_path(wallets, 0, market, VENUE)


def replays() -> None:
    """Replay a position."""
    replay(Book(_positions()), _market(), VENUE, threads=1)


def counterfactuals() -> None:
    """Replay a position together with recorded liquidations."""
    event = {"symbol": ["X"], "time": [START], "stage": ["low"], "side": ["long"], "position_id": [None]}
    facts = pl.DataFrame({**event, "price": [1.0], "notional": [1.0]})
    replay(Book(_positions()), _market(), VENUE, facts=facts, impact=Impact(mark=1e-9), threads=1)


#: The longest first.
JOBS = {
    "counterfactuals": counterfactuals,
    "replays": replays,
    "accounts": accounts,
    "sweeps": sweeps,
    "studies": studies,
}
