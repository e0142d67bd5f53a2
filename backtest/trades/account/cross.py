"""Trades in cross margin: all of a list as legs of one account, beside the same trades in isolated margin."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from backtest.amounts import moment, plain, plural, significant
from backtest.book.accounts import Accounts
from backtest.engine.accounts.sweep import sweep_accounts
from backtest.errors import ArgumentError
from backtest.schemas.frames import Time
from backtest.trades.account.legs import Prices, legs_of, with_results
from backtest.trades.account.wallet import Wallet
from backtest.trades.book import scaled, sized
from backtest.trades.on_venue import OnVenue

#: What becomes of a trade in cross margin.
CrossOutcome = pl.Enum(
    ["liquidated", "exited", "open", "unknown", "unfunded", "after_liquidation", "rejected", "no_rules"]
)

COLUMNS = ("cross_outcome", "cross_outcome_time", "cross_realised_pnl")


@dataclass(frozen=True, eq=False)
class Account:
    """One account that holds all trades, and how it goes on."""

    wallet: Wallet
    sequential: bool

    @classmethod
    def of(cls, wallet: float | pl.DataFrame | None, *, sequential: bool) -> Account | None:
        """Return an account; None without a wallet.

        Raises
        ------
        ArgumentError
            For trades in sequence without a wallet.
        """
        if wallet is None and sequential:
            raise ArgumentError("needs a wallet, which funds the trades", argument="sequential")
        return None if wallet is None else cls(Wallet.of(wallet), sequential)

    def follow(self, there: OnVenue, rows: pl.DataFrame, leverage: float | None) -> Cross:
        """Return the trades of a venue and leverage in this account."""
        return Cross(there, rows, leverage, self.wallet, sequential=self.sequential)


class Cross:
    """The trades of one venue and leverage in one account.

    Parameters
    ----------
    there : the trades on the venue
    rows : of the isolated check, which say what could not be opened there
    wallet : of the account
    sequential : whether trades that the wallet cannot fund are left out, and a liquidated account goes on
    """

    def __init__(
        self, there: OnVenue, rows: pl.DataFrame, leverage: float | None, wallet: Wallet, *, sequential: bool
    ) -> None:
        self.there, self.wallet, self.sequential = there, wallet, sequential
        self.rows = rows
        taken = rows.filter(~pl.col("outcome").is_in(["rejected", "no_rules"]))["trade_id"]
        trades = sized(there.trades, leverage, there.keep).filter(pl.col("trade_id").is_in(taken.implode()))
        changes = scaled(there.changes.join(trades.select("trade_id"), on="trade_id", how="semi"), trades)
        self.prices = Prices(there.prepared, there.market)
        inverse = [own.symbol for own in there.prepared.contracts if own.kind == "inverse"]
        legs = legs_of(trades, changes, there.fees, inverse)
        self.legs = with_results(legs, self.prices).with_row_index("leg_id").cast({"leg_id": pl.Int64})
        self.trades = trades
        self.outcomes: dict[int, tuple[str, datetime | None, float | None]] = {}
        self.liquidations: list[dict[str, Any]] = []
        self.end_wallet, self.ambiguous = 0.0, False
        self._follow()

    def _follow(self) -> None:
        """Follow the account from the first trade on; after a liquidation only with trades in sequence."""
        self.end_wallet = float(self.wallet.changes["wallet_change"].sum())
        if self.legs.is_empty():
            return
        start, legs = self.legs["entry_time"][0], self.legs
        balance = self.wallet.until(start)
        while legs.height:
            chosen = self._funded(legs, balance, start) if self.sequential else legs
            until, left = self._live(chosen, balance, start) if chosen.height else (None, balance)
            lost = legs.join(chosen, on="row", how="anti")
            lost = lost if until is None else lost.filter(pl.col("entry_time") <= until)
            self._note(lost["row"].unique().to_list(), "unfunded")
            self.end_wallet = left + self.wallet.paid_in(until or start)
            if until is None:
                break
            legs = legs.filter(~pl.col("row").is_in(list(self.outcomes)))
            if not self.sequential:
                self._note(legs["row"].unique().to_list(), "after_liquidation")
                break
            if legs.height:
                start = legs["entry_time"][0]
                balance = left + self.wallet.paid_in(until) - self.wallet.paid_in(start)

    def _live(self, legs: pl.DataFrame, balance: float, start: datetime) -> tuple[datetime | None, float]:
        """Note the outcomes of legs in one account; return when it is liquidated, and what is left.

        What is paid in after the start, or after the liquidation, is not counted in what is left.
        """
        account, swept = self._swept(legs, balance, start)
        self.ambiguous |= bool(account["ambiguous"])
        gone = account["liquidated"]
        opened = swept.filter(pl.col("leg_outcome").is_not_null()) if gone else swept
        self._write(opened)
        if not gone:
            return None, balance + float(opened["own_result"].sum())
        self._liquidated(account, opened)
        return account["outcome_time"], self._left_over(account)

    def _left_over(self, account: dict[str, Any]) -> float:
        """Return what a liquidation leaves in the wallet, by who gets the remaining margin."""
        kept = self.there.venue.remainder == "returned"
        return max(0.0, float(account["equity_at_fill"])) if kept else 0.0

    def _liquidated(self, account: dict[str, Any], legs: pl.DataFrame) -> None:
        hit = legs.filter(pl.col("leg_outcome").cast(pl.String) == "liquidated")["row"].n_unique()
        self.liquidations.append({"outcome_time": account["outcome_time"], "trades": hit})

    def _swept(self, legs: pl.DataFrame, balance: float, start: datetime) -> tuple[dict[str, Any], pl.DataFrame]:
        """Return the outcome of an account with these legs, and theirs, with ``own_result``."""
        moves = pl.concat(
            [
                self.wallet.after(start).select("time", "wallet_change"),
                legs.filter(pl.col("correction").is_not_null()).select(
                    time="exit_time", wallet_change="correction"
                ),
            ]
        )
        held = legs.select("leg_id", "row", "symbol", "side", "entry_time", "entry_price", "quantity", "leverage",
                           "exit_time", "result", "fees").with_columns(account_id=pl.lit(0, pl.Int64))  # fmt: skip
        book = Accounts(
            pl.DataFrame({"account_id": [0], "wallet": [balance]}),
            held,
            transfers=moves.with_columns(account_id=pl.lit(0, pl.Int64)).select(
                "account_id", "time", "wallet_change"
            ),
        )
        found = sweep_accounts(
            book,
            self.there.market,
            self.there.venue,
            tiers=self.there.conventions.tiers,
            threads=self.there.threads,
        )
        exited = pl.col("leg_outcome").cast(pl.String) == "exited"
        at_fill = pl.col("realised_pnl") - pl.col("fees") / 2  # a leg that is liquidated paid its entry's fee
        own = pl.when(exited).then("result").otherwise(at_fill).fill_null(0.0)
        return found.accounts.row(0, named=True), found.legs.with_columns(own_result=own)

    def _write(self, legs: pl.DataFrame) -> None:
        """Note the outcomes of trades: that of their last leg, the sum of their results."""
        order = ["exited", "open", "unknown", "liquidated"]
        worst = (
            pl.col("leg_outcome")
            .cast(pl.String)
            .replace_strict(dict(zip(order, range(4), strict=True)), default=1)
        )
        found = legs.with_columns(rank=worst).group_by("row", maintain_order=True).agg(
            pl.col("rank").max(), time=pl.col("leg_outcome_time").max(), left=pl.col("exit_time").max(),
            pnl=pl.col("own_result").sum(),
        )  # fmt: skip
        for row, rank, time, left, pnl in found.iter_rows():
            outcome = order[rank]
            over = outcome in ("exited", "liquidated")
            when = left if outcome == "exited" else time
            self.outcomes[row] = (outcome, when if over else None, pnl if over else None)

    def _note(self, rows: list[int], outcome: str) -> None:
        for row in rows:
            self.outcomes.setdefault(row, (outcome, None, None))

    def _funded(self, legs: pl.DataFrame, balance: float, start: datetime) -> pl.DataFrame:
        """Return the legs of the trades whose initial margin is there when they begin, one after the other."""
        changes = [(t.timestamp(), c) for t, c in self.wallet.after(start).iter_rows()]
        symbol = dict(zip(self.there.market.symbols, range(len(self.there.market.symbols)), strict=True))
        held: list[dict[str, Any]] = []  # legs of trades that were funded, and are not closed yet
        closed: list[tuple[float, float]] = []
        kept: list[int] = []
        of_trade: dict[int, list[dict[str, Any]]] = {}
        for leg in legs.iter_rows(named=True):
            of_trade.setdefault(leg["row"], []).append(leg)
        for row, own in of_trade.items():
            now = own[0]["entry_time"]
            while changes and changes[0][0] <= now.timestamp():
                balance += changes.pop(0)[1]
            while closed and closed[0][0] <= now.timestamp():
                balance += heapq.heappop(closed)[1]
            held = [leg for leg in held if leg["exit_time"] is None or leg["exit_time"] > now]
            free = balance + sum(self._worth(leg, symbol, now) for leg in held if leg["entry_time"] <= now)
            begin = [leg for leg in own if leg["entry_time"] == now]
            if free < sum(_initial_margin(leg) for leg in begin):
                continue
            kept.append(row)
            held += own
            for leg in own:
                if leg["exit_time"] is not None:
                    heapq.heappush(closed, (leg["exit_time"].timestamp(), leg["result"]))
        return legs.filter(pl.col("row").is_in(kept))

    def _worth(self, leg: dict[str, Any], symbol: dict[str, int], now: datetime) -> float:
        """Return the unrealised result of a leg at a moment, less the initial margin that it holds back."""
        number = symbol[leg["symbol"]]
        mark = self.prices.mark(number, round(now.timestamp() * 1000))
        value = 1 / mark if self.prices.inverse[number] else mark
        return float(leg["sign"] * leg["quantity"] * (value - leg["entry_value"])) - _initial_margin(leg)

    def columns(self) -> pl.DataFrame:
        """Return the isolated rows with the outcome of each trade in cross margin."""
        ids = dict(self.trades.select("row", "trade_id").iter_rows())
        schema: dict[str, Any] = {"trade_id": self.rows.schema["trade_id"], "cross_outcome": CrossOutcome,
                  "cross_outcome_time": Time, "cross_realised_pnl": pl.Float64}  # fmt: skip
        rows = [(ids[row], *rest) for row, rest in self.outcomes.items()]
        found = pl.DataFrame(rows, schema=schema, orient="row")
        joined = self.rows.join(found, on="trade_id", how="left", maintain_order="left")
        never = pl.when(pl.col("outcome").is_in(["rejected", "no_rules"])).then(
            pl.col("outcome").cast(pl.String).cast(CrossOutcome)
        )
        return joined.with_columns(cross_outcome=pl.coalesce("cross_outcome", never))

    def counts(self) -> dict[str, Any]:
        """Return the outcome of the account."""
        became = [outcome for outcome, _, _ in self.outcomes.values()]
        first = self.liquidations[0] if self.liquidations else {}
        return {
            "account_liquidations": len(self.liquidations),
            "cross_liquidated": became.count("liquidated"),
            "unfunded": became.count("unfunded"),
            "after_liquidation": became.count("after_liquidation"),
            "first_account_liquidation": pl.lit(first.get("outcome_time"), Time),
            "account_ambiguous": self.ambiguous,
            "end_wallet": self.end_wallet,
        }


def _initial_margin(leg: dict[str, Any]) -> float:
    return float(leg["quantity"] * leg["entry_value"] / (leg["leverage"] or 1.0))


def cross_sentences(totals: pl.DataFrame, titles: dict[str, str]) -> list[str]:
    """Return the outcome of the account at the highest leverage on each venue."""
    said = []
    for (venue,), own in totals.group_by("venue", maintain_order=True):
        row = own.sort("leverage", nulls_last=False).row(-1, named=True)
        said.append(_of_account(row, titles.get(str(venue), str(venue))))
    return said


def _of_account(row: dict[str, Any], title: str) -> str:
    how = "at their own leverage" if row["leverage"] is None else f"at {plain(row['leverage'])}x"
    said = f"As one account in cross margin {how} on {title} they would "
    if row["account_liquidations"]:
        often = "" if row["account_liquidations"] == 1 else f" {row['account_liquidations']:,} times, first"
        trades = plural(row["cross_liquidated"], "open trade")
        said += f"have been liquidated{often} on {moment(row['first_account_liquidation'])}, with {trades}"
        said += " (bars leave open whether)" if row["account_ambiguous"] else ""
    else:
        said += "not have been liquidated" + (" (bars leave open whether)" if row["account_ambiguous"] else "")
    for name, words in (("unfunded", "could not have been funded"), ("after_liquidation", "came after that")):
        if row[name]:
            said += f"; {plural(row[name], 'trade')} {words}"
    left = row["end_wallet"]
    return f"{said}; the wallet would hold {significant(left) if 0 < abs(left) < 1 else f'{left:,.2f}'}."
