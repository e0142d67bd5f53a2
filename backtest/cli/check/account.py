"""Account of ``backtest check --margin-mode cross``: an amount, or a file of its history."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import polars as pl

from backtest.errors import ArgumentError
from backtest.trades.account.cross import Account
from backtest.trades.files import read_rows
from backtest.trades.table import Table


def read_account(options: Namespace) -> Account | None:
    """Return the account of all trades; None for isolated margin.

    Raises
    ------
    ArgumentError
        For cross margin without a wallet, and a wallet without cross margin.
    DataError
        For a file that cannot be read as the history of a wallet.
    """
    if options.margin_mode == "isolated":
        for name in ("wallet", "sequential"):
            if getattr(options, name):
                raise ArgumentError("needs --margin-mode cross", argument=name)
        return None
    if options.wallet is None:
        raise ArgumentError("must be given with --margin-mode cross: an amount, or a file", argument="wallet")
    try:
        wallet: float | pl.DataFrame = float(options.wallet)
    except ValueError:
        wallet = _history(Path(options.wallet), options.timezone)
    return Account.of(wallet, sequential=options.sequential)


def _history(path: Path, timezone: str | None) -> pl.DataFrame:
    where = f"wallet file {path}"
    rows, _ = read_rows(path, where)
    table = Table(where, rows, timezone)
    absent = [name for name in ("time", "wallet_change") if not table.has(name)]
    if absent:
        raise ArgumentError(
            f"{path} has no column {absent[0]}: time and wallet_change are wanted", argument="wallet"
        )
    return pl.DataFrame({"time": table.time("time"), "wallet_change": table.number("wallet_change")})
