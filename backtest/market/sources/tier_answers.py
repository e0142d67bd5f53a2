"""Answers of venues' public interfaces about their margin tiers, kept as they came.

Addresses as read in public documents; the authors have tried none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backtest.errors import ArgumentError
from backtest.market.sources.archives import HOSTS
from backtest.market.sources.http import Client


@dataclass(frozen=True)
class Question:
    """Where a venue is asked for its tiers."""

    host: str  #: as in ``archives.HOSTS``
    path: str  #: with the symbol in braces; without: one answer has every symbol
    body: str = ""  #: of a question that is posted
    like: str = ""  #: a symbol as the venue writes it

    @property
    def by_symbol(self) -> bool:
        """Whether each symbol is asked for by itself."""
        return "{symbol}" in self.path


QUESTIONS: Mapping[str, Question] = {
    "bybit": Question("bybit", "v5/market/risk-limit?category=linear&symbol={symbol}", like="BTCUSDT"),
    "okx": Question(
        "okx", "api/v5/public/position-tiers?instType=SWAP&tdMode=isolated&instFamily={symbol}", like="BTC-USDT"
    ),
    "gate": Question("gate", "api/v4/futures/usdt/risk_limit_tiers?contract={symbol}", like="BTC_USDT"),
    "bitget": Question(
        "bitget",
        "api/v2/mix/market/query-position-lever?productType=usdt-futures&symbol={symbol}",
        like="BTCUSDT",
    ),
    "kucoin": Question("kucoin", "api/v1/contracts/risk-limit/{symbol}", like="XBTUSDTM"),
    "hyperliquid": Question("hyperliquid", "info", body='{"type": "meta"}'),
    "dydx": Question("dydx", "v4/perpetualMarkets"),
}

#: Venues that show their tiers to holders of a key alone.
WITH_KEY = {"binance": "leverageBracket"}


def fetch_tiers(
    venue: str, symbols: tuple[str, ...], folder: Path, now: datetime, hosts: Mapping[str, str], client: Client
) -> list[Path]:
    """Fetch a venue's tiers of today, and return the files of its answers.

    Raises
    ------
    ArgumentError
        For a venue that cannot be asked, and symbols where the venue needs some.
    FetchError
        Where the venue does not answer, or not with JSON.
    """
    if venue in WITH_KEY:
        raise ArgumentError(
            f"cannot be {venue}, which shows its tiers to holders of a key alone: save its answer to "
            f"{WITH_KEY[venue]}, or that of ccxt's fetch_leverage_tiers, and import the file",
            argument="venue",
        )
    if venue not in QUESTIONS:
        raise ArgumentError(f"must be one of {', '.join(QUESTIONS)}, is {venue!r}", argument="venue")
    question = QUESTIONS[venue]
    if question.by_symbol and not symbols:
        raise ArgumentError(f"is needed: {venue} is asked for each, as {question.like}", argument="symbols")
    host = hosts.get(question.host, HOSTS[question.host]).rstrip("/")
    found = []
    for symbol in symbols if question.by_symbol else ("all",):
        if not symbol.replace("-", "").replace("_", "").isalnum():
            raise ArgumentError(
                f"must be written as the venue does, as {question.like}, is {symbol!r}", argument="symbols"
            )
        path = folder / "tier-answers" / venue / f"{symbol}-{now:%Y-%m-%d}.json"
        answer = client.get(f"{host}/{question.path.format(symbol=symbol)}", question.body.encode() or None)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".partial")
        draft.write_bytes(answer)
        draft.replace(path)
        found.append(path)
    return found


def contract_size(symbol: str, hosts: Mapping[str, str], client: Client) -> float:
    """Return the base currency in a contract of OKX, which counts its tiers in contracts."""
    host = hosts.get("okx", HOSTS["okx"]).rstrip("/")
    answer = client.get(f"{host}/api/v5/public/instruments?instType=SWAP&instFamily={symbol}")
    return float(json.loads(answer)["data"][0]["ctVal"])
