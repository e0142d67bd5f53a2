"""Wallet of an account that trades are held in: what is paid in and out, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from backtest.errors import ArgumentError
from backtest.schemas.frames import Time


@dataclass(frozen=True, eq=False)
class Wallet:
    """Deposits and withdrawals of one account, in order of time; the first is what it begins with."""

    changes: pl.DataFrame  #: ``time`` (null: before everything), ``wallet_change``

    @classmethod
    def of(cls, given: float | pl.DataFrame) -> Wallet:
        """Return a wallet from an amount, or from a history ``time, wallet_change``.

        Raises
        ------
        ArgumentError
            For an amount that is not above zero, and a history without its columns.
        """
        if isinstance(given, int | float):
            if not 0 < given < float("inf"):
                raise ArgumentError(f"must be a finite number above zero, is {given!r}", argument="wallet")
            return cls(pl.DataFrame({"time": pl.Series([None], dtype=Time), "wallet_change": [float(given)]}))
        frame = given
        absent = [name for name in ("time", "wallet_change") if name not in frame.columns]
        if absent:
            raise ArgumentError(
                f"must be an amount, or a history with columns time and wallet_change: {absent[0]} is not there",
                argument="wallet",
            )
        frame = frame.select(pl.col("time").cast(Time), pl.col("wallet_change").cast(pl.Float64))
        if frame.is_empty() or frame.null_count().row(0) != (0, 0) or not frame["wallet_change"].is_finite().all():
            raise ArgumentError("must be a history of finite amounts with their times", argument="wallet")
        return cls(frame.sort("time", maintain_order=True))

    def until(self, time: datetime) -> float:
        """Return what was put in at or before a time."""
        known = pl.col("time").is_null() | (pl.col("time") <= time)
        return float(self.changes.filter(known)["wallet_change"].sum())

    def after(self, time: datetime) -> pl.DataFrame:
        """Return what is put in after a time."""
        return self.changes.filter(pl.col("time") > time)

    def paid_in(self, since: datetime) -> float:
        """Return the sum of what is put in after a time."""
        return float(self.after(since)["wallet_change"].sum())
