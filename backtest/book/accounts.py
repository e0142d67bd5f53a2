"""Accounts in cross margin: a wallet shared by several legs, collateral in other coins, debts, transfers."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.schemas.arguments import checked
from backtest.schemas.frames import (
    ACCOUNT_OUTCOME_COLUMNS,
    ACCOUNTS,
    COLLATERAL,
    HAIRCUTS,
    LEG_OUTCOME_COLUMNS,
    LEGS,
    POSITIONS,
    TRANSFERS,
)
from backtest.schemas.given_frames import owned
from backtest.schemas.validation import Schema, conform, named_alike, numbered, offence
from backtest.shown import shown


@shown("symbols", "accounts", "legs", "collateral", "haircuts", "transfers")
class Accounts:
    """Accounts in cross margin, checked: wallets, legs, collateral and transfers.

    Parameters
    ----------
    accounts
        ``account_id`` (whole numbers or text; rows are numbered from 0 without), ``wallet`` (settlement currency;
        negative: a debt in it); optionally ``order_margin``, the part reserved for open orders. Other columns are
        carried through.
    legs
        ``leg_id`` (as ``account_id``), ``account_id, symbol, side, entry_time, entry_price, quantity``;
        optionally ``leverage`` (where rates are keyed by it) and ``exit_time`` (null: none). Other columns are
        carried through.
    collateral
        ``account_id, symbol, quantity``: units held throughout, valued at the symbol's mark price; a negative
        quantity is a debt in that coin.
    haircuts
        ``symbol, floor, haircut``: the value of collateral above ``floor`` counts reduced by ``haircut`` (0.1: at
        90 %), rising with the floor. Symbols without rows have no haircut.
    transfers
        ``account_id, time, wallet_change``: deposits, and withdrawals where negative.

    Raises
    ------
    DataError
        For frames that break their schema or hold columns a sweep adds, ids used twice or unknown, accounts
        without legs, exits before entries, haircuts that do not rise.

    Examples
    --------
    >>> from backtest import Accounts
    >>> legs = {"account_id": ["A", "A"], "symbol": ["BTCUSDT", "ETHUSDT"], "side": ["long", "short"],
    ...         "entry_time": [noon, noon], "entry_price": [38_000.0, 2_500.0], "quantity": [1.0, 10.0]}
    >>> Accounts({"account_id": ["A"], "wallet": [5_000.0]}, legs)
    Accounts(1 accounts, 2 legs in BTCUSDT, ETHUSDT)
    """

    @checked
    def __init__(
        self,
        accounts: pl.DataFrame,
        legs: pl.DataFrame,
        *,
        collateral: pl.DataFrame | None = None,
        haircuts: pl.DataFrame | None = None,
        transfers: pl.DataFrame | None = None,
    ) -> None:
        self.accounts = numbered(owned(conform(accounts, ACCOUNTS)), "account_id")
        ids = self.accounts.schema["account_id"]
        self.legs = numbered(named_alike(owned(conform(legs, LEGS)), "account_id", ids), "leg_id")
        self.collateral = named_alike(_or_empty(collateral, COLLATERAL), "account_id", ids)
        self.haircuts = _or_empty(haircuts, HAIRCUTS)
        self.transfers = named_alike(_or_empty(transfers, TRANSFERS), "account_id", ids)
        if self.accounts.is_empty():
            raise DataError("accounts must hold at least one row, there is none")
        self._check_names()
        _refuse(self.accounts, "accounts", "account_id must not repeat", ("account_id",), _repeats("account_id"))
        _refuse(self.legs, "legs", "leg_id must not repeat", ("leg_id",), _repeats("leg_id"))
        self._check_belonging()
        self._check_rows()

    @classmethod
    @checked
    def isolated(cls, positions: pl.DataFrame) -> Accounts:
        """Return one account for each position, with the position's margin as its wallet: isolated margin.

        Parameters
        ----------
        positions
            As for :class:`~backtest.Book`, of linear or face-value contracts, with ``margin``; stops and
            take-profits are left out, other columns are carried through with the legs.
        """
        positions = numbered(conform(positions, POSITIONS), "position_id")
        if "margin" not in positions.columns:
            raise DataError("positions need a column margin, which becomes the wallet of each account")
        wallets = positions.select(pl.col("position_id").alias("account_id"), pl.col("margin").alias("wallet"))
        drop = [
            name
            for name in ("margin", "stop_price", "take_profit_price", "account_id")
            if name in positions.columns
        ]
        legs = (
            positions.drop(drop).with_columns(leg_id="position_id", account_id="position_id").drop("position_id")
        )
        return cls(wallets, legs)

    def only(self, account_id: int | str) -> Accounts:
        """Return one of the accounts with its legs, collateral and transfers.

        Raises
        ------
        ArgumentError
            Where there is no such account.
        """
        own = pl.col("account_id") == account_id
        if self.accounts.filter(own).is_empty():
            raise ArgumentError(f"account_id {account_id!r} is none of the {len(self):,} accounts'")
        return Accounts(
            self.accounts.filter(own),
            self.legs.filter(own),
            collateral=self.collateral.filter(own),
            haircuts=self.haircuts,
            transfers=self.transfers.filter(own),
        )

    def __len__(self) -> int:
        return self.accounts.height

    def __repr__(self) -> str:
        held = ", ".join(self.symbols)
        return f"Accounts({len(self):,} accounts, {self.legs.height:,} legs in {held or 'nothing'})"

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of legs, in order of appearance."""
        return tuple(self.legs["symbol"].unique(maintain_order=True))

    @cached_property
    def coins(self) -> tuple[str, ...]:
        """The symbols of collateral and debts, in order of appearance."""
        return tuple(self.collateral["symbol"].unique(maintain_order=True))

    def _check_names(self) -> None:
        for argument, frame, added in (
            ("accounts", self.accounts, ACCOUNT_OUTCOME_COLUMNS),
            ("legs", self.legs, LEG_OUTCOME_COLUMNS),
        ):
            taken = [name for name in added if name in frame.columns]
            if taken:
                raise DataError(
                    f"{argument} must not have the columns a sweep adds: rename or drop {', '.join(taken)}"
                )

    def _check_belonging(self) -> None:
        """Raise for rows of unknown accounts, and for accounts without a leg."""
        known = self.accounts["account_id"].implode()
        for argument, frame in (
            ("legs", self.legs),
            ("collateral", self.collateral),
            ("transfers", self.transfers),
        ):
            strange = ~pl.col("account_id").is_in(known)
            _refuse(frame, argument, "account_id must be one of the accounts'", ("account_id",), strange)
        idle = ~pl.col("account_id").is_in(self.legs["account_id"].implode())
        _refuse(self.accounts, "accounts", "an account must have at least one leg", ("account_id",), idle)

    def _check_rows(self) -> None:
        if "exit_time" in self.legs.columns:
            late = pl.col("exit_time") <= pl.col("entry_time")
            sentence = "exit_time must lie after entry_time"
            _refuse(self.legs, "legs", sentence, ("entry_time", "exit_time"), late)
        twice = pl.struct("account_id", "symbol").is_duplicated()
        sentence = "an account must hold a symbol in one row"
        _refuse(self.collateral, "collateral", sentence, ("symbol", "quantity"), twice)
        later = ~pl.col("symbol").is_first_distinct()
        for name in ("floor", "haircut"):
            flat = later & ~(pl.col(name).diff().over("symbol") > 0)
            sentence = f"{name} must rise within each symbol"
            _refuse(self.haircuts, "haircuts", sentence, ("symbol", "floor", "haircut"), flat)
        begins = ~later & (pl.col("floor") != 0)
        sentence = "the first floor of a symbol must be 0"
        _refuse(self.haircuts, "haircuts", sentence, ("symbol", "floor"), begins)


def _or_empty(frame: pl.DataFrame | None, schema: Schema) -> pl.DataFrame:
    if frame is None:
        return pl.DataFrame(schema={column.name: column.dtype for column in schema.columns})
    return conform(frame, schema)


def _repeats(name: str) -> pl.Expr:
    return ~pl.col(name).is_first_distinct()


def _refuse(frame: pl.DataFrame, argument: str, sentence: str, names: tuple[str, ...], bad: pl.Expr) -> None:
    if frame.select(bad.any()).item():
        raise DataError(offence(frame, argument, sentence, bad, names))
