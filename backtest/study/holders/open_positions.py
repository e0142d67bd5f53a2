"""Open positions: how far liquidation is, how often prices moved that far, what margin would make it rare.

The chance of touching a price at a distance within a horizon is how often the mark price moved that far, from any
open of the bars given (``survival.excursions``), with a band over calendar blocks: history, not a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import ContractKind
from backtest.kernel.margin import formula
from backtest.kernel.types import Floats
from backtest.market.market import Market
from backtest.rules import margin as margins
from backtest.rules.calculator import position_prices
from backtest.rules.position import PositionPrices
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.stats.bootstrap import FORTNIGHT, Seed
from backtest.study.stats.rates import Rate, banded_rates
from backtest.study.survival.excursions import excursions
from backtest.trades.symbols import listed_as, same

HORIZONS = (timedelta(hours=8), timedelta(hours=24), timedelta(days=7))

DAY = timedelta(days=1)


@checked
def nearness(
    positions: pl.DataFrame,
    market: Market,
    venue: Venue,
    *,
    horizons: Sequence[timedelta] = HORIZONS,
    rare: float = 0.01,
    tiers: Tiers = "nearest",
    time: datetime | None = None,
    draws: int = 999,
    seed: Seed = 1,
) -> pl.DataFrame:
    """Return how near open positions are to liquidation.

    Parameters
    ----------
    positions
        As ``trades.read_positions`` returns them. Those in cross margin are as near as the venue says.
    market
        Prices that show how far the mark moved; a position without a mark price is at the last close.
    horizons
        To touch the liquidation price within.
    rare
        Chance below which ``margin_to_add`` brings a position.
    tiers, time
        Tables of the positions, by the time given; None: now.
    draws, seed
        Of the bands over calendar blocks; no draws, no bands.

    Returns
    -------
    A row a position and horizon: ``symbol, side, quantity, entry_price, leverage, margin, margin_mode,
    mark_price``; ``liquidation_price`` (ours, of isolated positions), ``venue_liquidation_price`` and
    ``price_difference`` (ours to theirs, a fraction); ``distance`` from the mark (a fraction; to ours, else to the
    venue's) and ``distance_days`` (in daily standard deviations); ``horizon, openings, chance, low, high``;
    ``margin_to_add`` for a chance below ``rare`` within the horizon, in settlement currency. Null where it is not
    known: no margin, no price, too few bars.

    Raises
    ------
    DataError
        Where the prices have none of the symbols.

    Examples
    --------
    >>> from backtest import trades
    >>> from backtest.study import holders
    >>> stated = {"symbol": ["BTCUSDT"], "side": "long", "quantity": 0.5, "entry_price": 38_000.0, "leverage": 10}
    >>> found = holders.nearness(trades.read_positions(stated), market, "binance", draws=0)
    >>> found.select(pl.col("liquidation_price").round(1), pl.col("distance", "chance").round(3)).row(1)
    (34337.3, 0.125, 0.195)
    """
    if not 0 < rare < 1:
        raise ArgumentError(f"must lie between 0 and 1, is {rare!r}", argument="rare")
    known = [same(symbol, market.symbols) for symbol in positions["symbol"]]
    if not any(known):
        listed = ", ".join(positions["symbol"].unique(maintain_order=True).head(3))
        raise DataError(
            f"prices have none of the positions' symbols ({listed}): they have {', '.join(market.symbols)}"
        )
    moves = _Moves(market, horizons, draws, seed)
    rows: list[dict[str, Any]] = []
    for position, found in zip(positions.iter_rows(named=True), known, strict=True):
        if found:
            rows += _of(position, moves.of(found[0]), venue, rare, tiers, time)
    own = {name: kind for name, kind in positions.schema.items() if name in rows[0]}
    floats = dict.fromkeys(rows[0].keys() - own.keys() - {"horizon", "openings"}, pl.Float64)
    types: dict[str, Any] = own | floats | {"horizon": pl.Duration("us"), "openings": pl.Int64}
    return pl.DataFrame(rows, schema_overrides=types)


class _Moves:
    """Moves of the mark price of each symbol from its opens, within each horizon."""

    def __init__(self, market: Market, horizons: Sequence[timedelta], draws: int, seed: Seed) -> None:
        self.market, self.horizons, self.draws, self.seed = market, horizons, draws, seed
        self._found: dict[str, _OfSymbol] = {}

    def of(self, symbol: str) -> _OfSymbol:
        if symbol not in self._found:
            self._found[symbol] = _OfSymbol(self, symbol)
        return self._found[symbol]


class _OfSymbol:
    """Moves of one symbol."""

    def __init__(self, moves: _Moves, symbol: str) -> None:
        own = moves.market.select([symbol])
        self.draws, self.seed = moves.draws, moves.seed
        closes = own.prices("mark", "close")
        self.last = float(closes[-1])
        per_day = DAY / timedelta(milliseconds=int(own.intervals[0]))
        self.volatility = float(np.diff(np.log(closes)).std(ddof=1)) * per_day**0.5 if closes.size > 2 else np.nan
        span = timedelta(milliseconds=int(own.times[-1] - own.times[0]))
        self.length = min(FORTNIGHT, max(DAY, span / 8))
        self.within = {horizon: _excursions(own, horizon) for horizon in moves.horizons}

    def chance(self, horizon: timedelta, side: str, distance: float) -> dict[str, Any]:
        """Return how often the price moved a distance against a side within a horizon, with its band."""
        moved = self.within[horizon]
        nothing = {"openings": 0, "chance": None, "low": None, "high": None}
        if moved is None or not np.isfinite(distance):
            return nothing
        events = moved["down" if side == "long" else "up"].to_numpy() >= distance
        rate = Rate({"side": side}, moved["time"].to_physical().to_numpy(), events)
        try:
            found = banded_rates([rate], seed=self.seed, length=self.length, draws=self.draws).row(0, named=True)
        except DataError:  # all openings in one block: no band
            found = {"cases": events.size, "rate": float(events.mean())}
        kept = {"openings": int(found["cases"]), "chance": found["rate"]}
        return kept | {name: found.get(name) for name in ("low", "high")}

    def rare_distance(self, horizon: timedelta, side: str, rare: float) -> float:
        """Return the distance that the price moved to in fewer than a share of the openings."""
        moved = self.within[horizon]
        if moved is None:
            return np.nan
        values: Floats = np.sort(moved["down" if side == "long" else "up"].to_numpy())
        most = int(np.ceil(rare * values.size)) - 1  # so many openings may still reach it
        return float(np.nextafter(values[values.size - 1 - max(most, 0)], np.inf))


def _excursions(market: Market, horizon: timedelta) -> pl.DataFrame | None:
    try:
        found = excursions(market, horizon)
    except DataError:
        return None
    return found if found.height else None


def _of(
    position: dict[str, Any], moves: _OfSymbol, venue: Venue, rare: float, tiers: Tiers, time: datetime | None
) -> list[dict[str, Any]]:
    """Return the rows of one position."""
    mark = position["mark_price"] or moves.last
    held = _held(position, venue, tiers, time)
    ours = held.liquidation_price if held is not None and position["margin_mode"] != "cross" else np.nan
    theirs = position["venue_liquidation_price"] or np.nan
    reached = ours if np.isfinite(ours) else theirs
    sign = 1.0 if position["side"] == "long" else -1.0
    distance = sign * (mark - reached) / mark
    stated = {
        name: value for name, value in position.items() if name not in ("mark_price", "venue_liquidation_price")
    }
    numbers = {
        "mark_price": mark,
        "liquidation_price": ours,
        "venue_liquidation_price": theirs,
        "price_difference": ours / theirs - 1,
        "distance": distance,
        "distance_days": abs(np.log(reached / mark)) / (moves.volatility or np.nan),
    }
    shown = {name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}
    rows = []
    for horizon in moves.within:
        away = moves.rare_distance(horizon, position["side"], rare)
        added = _margin_to_add(held, mark * (1 - sign * away), reached) if np.isfinite(away) else None
        rows.append(
            stated | shown | {"horizon": horizon} | moves.chance(horizon, position["side"], distance)
            | {"margin_to_add": added}
        )  # fmt: skip
    return rows


def _held(position: dict[str, Any], venue: Venue, tiers: Tiers, time: datetime | None) -> PositionPrices | None:
    """Return a position under the venue's rules; None where it has none for it, or neither margin nor leverage."""
    symbol = listed_as(position["symbol"], venue)
    if symbol is None or (position["margin"] is None and position["leverage"] is None):
        return None
    return position_prices(
        venue, symbol, side=str(position["side"]), entry_price=position["entry_price"],
        quantity=position["quantity"], leverage=position["leverage"], margin=position["margin"], time=time,
        tiers=tiers,
    )  # fmt: skip


def _margin_to_add(held: PositionPrices | None, price: float, reached: float) -> float | None:
    """Return what moves a liquidation price to another price: what equity lacks of the requirement there."""
    if held is None or price <= 0 or not np.isfinite(reached):
        return None

    code = ContractKind.code(held.contract.kind)

    def left(at: float, margin: float) -> float:
        kept = margins.maintenance_margin(
            held.contract, held.tier_table, price=at, leverage=held.leverage, **held.arguments | {"margin": margin}
        )
        return float(formula.result(code, float(held.side), held.quantity, held.entry_price, at) - kept[0])

    added = 0.0
    for _ in range(20):  # a fee reserved at bankruptcy follows the margin itself
        added = max(0.0, left(reached, held.margin) - left(price, held.margin + added))
    return added
