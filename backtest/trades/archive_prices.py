"""Prices of trades from a venue's archive: their contracts, from before the first entry to after the last exit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import polars as pl

from backtest.errors import DataError
from backtest.market.loading import load
from backtest.market.market import Market
from backtest.schemas.arguments import checked
from backtest.trades.reader import Trades
from backtest.trades.symbols import pair_of

#: The price used for the mark where a venue publishes none.
SUBSTITUTES = {"hyperliquid": "last"}

DAY = timedelta(days=1)

#: Time before now whose prices show how far open positions are from liquidation.
LATELY = timedelta(days=90)

#: Archives hold the day before this long ago; what is newer comes from the venue's interface.
PUBLISHED = timedelta(days=2)


@checked
def prices_of(
    trades: Trades,
    venue: str,
    *,
    interval: str = "1m",
    offline: bool = False,
    folder: str | Path | None = None,
    hosts: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Market:
    """Return the prices and funding of the trades' contracts, from the disk, and fetched where they are not there.

    From the day before the first entry to the day after the last exit; where a trade is still open, to now.

    Parameters
    ----------
    trades
        As :func:`read` returns them.
    venue
        One of ``market.sources.VENUES``; Hyperliquid's last prices stand for its mark prices.
    interval
        Of the bars.
    offline, folder, hosts
        As of :func:`~backtest.market.load`.
    now
        The present time (UTC); None: the clock's.

    Raises
    ------
    DataError
        Where the venue has none of the contracts.
    FetchError
        Where data are missing and cannot be fetched.

    Examples
    --------
    >>> from backtest import trades
    >>> trades.prices_of(trades.read("result.zip"), "binance", interval="1h")  # doctest: +SKIP
    Market(BTCUSDT: 1,464 bars, 2024-01-01 to 2024-03-01)
    """
    symbols = _contracts(trades.trades["symbol"], venue)
    start, end = _span(trades.trades, now or datetime.now(UTC))
    return load(
        venue,
        symbols,
        start,
        end,
        interval=interval,
        price=SUBSTITUTES.get(venue),
        offline=offline,
        folder=folder,
        hosts=hosts,
        with_recent=not offline and end > (now or datetime.now(UTC)) - PUBLISHED,
    )


def recent_prices(positions: pl.DataFrame, venue: str, *, interval: str = "1m", offline: bool = False) -> Market:
    """Return the prices of the positions' contracts in the last 90 days; options as of :func:`prices_of`."""
    now = datetime.now(UTC)
    end = _midnight(now) if offline else now
    return load(
        venue, _contracts(positions["symbol"], venue), _midnight(now) - LATELY, end,
        interval=interval, price=SUBSTITUTES.get(venue), offline=offline, with_recent=not offline,
    )  # fmt: skip


def _contracts(symbols: pl.Series, venue: str) -> list[str]:
    """Return how an archive spells contracts; those that it has none of are left out."""
    given = symbols.unique(maintain_order=True)
    found = sorted({name for symbol in given if (name := _spelled(symbol, venue)) is not None})
    if not found:
        raise DataError(f"archive of {venue} has none of the contracts {', '.join(given.head(3))}")
    return found


def prices_within(
    windows: pl.DataFrame,
    venue: str,
    *,
    interval: str = "1m",
    offline: bool = False,
    folder: str | Path | None = None,
    hosts: Mapping[str, str] | None = None,
) -> Market:
    """Return prices of the days that windows lie in; options are those of :func:`prices_of`.

    Parameters
    ----------
    windows
        ``symbol, start, end``, as a check returns them.
    """
    last = pl.col("end") - timedelta(milliseconds=1)
    days = windows.select("symbol", day=pl.date_ranges(pl.col("start").dt.date(), last.dt.date())).explode("day")
    days = days.unique().sort("symbol", "day")
    follows = pl.col("day").diff().over("symbol") == DAY
    runs = days.with_columns(run=(~follows.fill_null(False)).cum_sum())
    found = []
    for symbol, start, end in (
        runs.group_by("symbol", "run", maintain_order=True)
        .agg(pl.col("day").first().alias("start"), pl.col("day").last().alias("end"))
        .drop("run")
        .iter_rows()
    ):
        own = _spelled(symbol, venue)
        if own is None:
            raise DataError(f"archive of {venue} has no prices of {symbol}")
        part = load(
            venue, own, start, end + DAY, interval=interval, price=SUBSTITUTES.get(venue), also=(),
            offline=offline, folder=folder, hosts=hosts,
        )  # fmt: skip
        found.append(part)
    bars = pl.concat([one.bars for one in found]).sort("symbol", "time")
    return Market(bars, description=found[0].description, price_venue=found[0].price_venue)


def _spelled(symbol: str, venue: str) -> str | None:
    """Return how an archive spells a contract; None where it has none of its kind."""
    pair = pair_of(symbol)
    if pair is None:
        return symbol.upper()
    coin_paid = venue == "binance-coin"
    if pair.inverse != coin_paid and pair.quote is not None:
        return None
    return f"{pair.base}USD_PERP" if coin_paid else f"{pair.base}{pair.quote or 'USDT'}"


def _span(trades: pl.DataFrame, now: datetime) -> tuple[datetime, datetime]:
    """Return whole days around the trades, up to now where one is still open."""
    first, last = trades.select(
        pl.col("entry_time").min().alias("first"), pl.max_horizontal("entry_time", "exit_time").max().alias("last")
    ).row(0)
    end = now if trades["exit_time"].null_count() else min(now, _midnight(last) + 2 * DAY)
    return _midnight(first) - DAY, max(end, _midnight(first))


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), UTC)
