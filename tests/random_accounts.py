"""Random markets and accounts to compare the engine with the reference on, most of them in a tie.

A tie: the wallet is chosen so that V is exactly zero at the prices some later bar is tested at, where the last
digit decides. In the ``dyadic`` family every number is exact in binary, so that ties are exact.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import account_reference as reference
import numpy as np
import polars as pl

from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue
from backtest.schemas.frames import COLLATERAL, HAIRCUTS, TRANSFERS, Side, Time

Rng = np.random.Generator
Array = np.ndarray[Any, Any]

START = datetime(2021, 5, 19, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LENGTHS = (3, 16, 17, 33, 50, 80, 270)  # around the blocks of sixteen that a search takes
LENGTH_SHARES = (0.1, 0.15, 0.2, 0.25, 0.15, 0.1, 0.05)
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")


#: What prices of contracts that pay 1 are divided by.
ODDS = 256.0


class Case(NamedTuple):
    """Everything a sweep of accounts is given; ``options`` are keywords of the reference."""

    frames: dict[str, pl.DataFrame]
    bars: pl.DataFrame
    funding: pl.DataFrame | None
    venue: Venue
    options: dict[str, Any]


def random_case(rng: Rng, count: int = 60) -> Case:
    """Return accounts under one venue in one market."""
    dyadic = bool(rng.random() < 0.6)
    length = int(rng.choice(LENGTHS, p=LENGTH_SHARES))
    bars = random_bars(rng, length, dyadic)
    venue = random_venue(rng, dyadic)
    options = {
        "convention": str(rng.choice(["own_worst", "joint_worst", "closes"])),
        "profit": str(rng.choice(["shared", "shared", "excluded", "per_position"])),
        "hedged": str(rng.choice(["liquidatable", "liquidatable", "exempt"])),
        "gap_limit_ms": int(rng.choice([60_000, 180_000, 21_600_000])) if rng.random() < 0.8 else None,
    }
    funding = random_funding(rng, length, dyadic)
    frames = random_accounts(rng, bars, length, count, dyadic)
    bars, frames = as_odds(
        bars, frames, [name for name, own in venue.contracts.items() if own.kind == "face_value"]
    )
    frames["accounts"] = with_ties(rng, frames, bars, funding, venue, options)
    return Case(frames, bars, funding, venue, options)


def as_odds(
    bars: pl.DataFrame, frames: dict[str, pl.DataFrame], symbols: list[str]
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Bring prices of some symbols below 1, and quantities up as much: exact, and worth the same."""
    own = pl.col("symbol").is_in(symbols)
    down, up = pl.when(own).then(1 / ODDS).otherwise(1.0), pl.when(own).then(ODDS).otherwise(1.0)
    return bars.with_columns(pl.col("open", "high", "low", "close") * down), {
        **frames,
        "legs": frames["legs"].with_columns(pl.col("entry_price") * down, pl.col("quantity") * up),
        "collateral": frames["collateral"].with_columns(pl.col("quantity") * up),
    }


def rounded(values: Array, dyadic: bool, denominator: float) -> Array:
    return np.round(values * denominator) / denominator if dyadic else values


def random_bars(rng: Rng, length: int, dyadic: bool) -> pl.DataFrame:
    """Return bars of correlated symbols, some of them missing, one listed late."""
    common = rng.normal(0, 0.02, length)
    frames = []
    for number, symbol in enumerate(SYMBOLS):
        moves = rng.choice([1.0, -0.5]) * common + rng.normal(0, 0.01, length)
        middle = 64.0 * np.exp(np.cumsum(moves))
        opening = np.maximum(rounded(np.append(64.0, middle[:-1]), dyadic, 16), 1.0)
        close = np.maximum(rounded(middle, dyadic, 16), 1.0)
        reach = rng.exponential(0.01, (2, length))
        high = rounded(np.maximum(opening, close) * (1 + reach[0]), dyadic, 16)
        low = np.maximum(rounded(np.minimum(opening, close) * (1 - np.minimum(reach[1], 0.5)), dyadic, 16), 0.5)
        high, low = np.maximum(high, np.maximum(opening, close)), np.minimum(low, np.minimum(opening, close))
        frame = pl.DataFrame(
            {
                "symbol": [symbol] * length,
                "time": [START + MINUTE * bar for bar in range(length)],
                **dict(zip(("open", "high", "low", "close"), (opening, high, low, close), strict=True)),
            },
            schema_overrides={"time": Time},
        )
        frames.append(frame.filter(pl.Series(kept_bars(rng, length, first=number == 0))))
    return pl.concat(frames)


def kept_bars(rng: Rng, length: int, *, first: bool) -> Array:
    """Return which bars a symbol has: most; of the first symbol both ends, so that the grid is known."""
    kept = np.ones(length, bool)
    if length > 10 and rng.random() < 0.5:
        at = int(rng.integers(1, length - 2))
        kept[at : at + int(rng.integers(1, 8))] = False
        kept[rng.random(length) < 0.05] = False
    if not first and rng.random() < 0.2:
        kept[int(length * 0.8) :] = False
    kept[[0, 1]] = True
    kept[-1] = kept[-1] or first
    return kept


def random_funding(rng: Rng, length: int, dyadic: bool) -> pl.DataFrame | None:
    if rng.random() < 0.2:
        return None
    rows = []
    for symbol in SYMBOLS:
        for _ in range(int(rng.integers(0, 2 + length // 8))):
            late = int(rng.choice([0, 0, 300, 20_000]))
            time = START + MINUTE * int(rng.integers(0, length)) + timedelta(milliseconds=late)
            rows.append((symbol, time, float(rounded(rng.normal(0, 0.004, 1), dyadic, 1024)[0])))
    frame = pl.DataFrame(rows, schema={"symbol": pl.String, "time": Time, "rate": pl.Float64}, orient="row")
    frame = frame.unique(["symbol", "time"]).sort("symbol", "time")
    return None if frame.is_empty() else frame


def random_venue(rng: Rng, dyadic: bool) -> Venue:
    """Return a venue with every model of tiers, some contracts constant, some with a closing fee."""
    trigger = str(rng.choice(["<=", "<"]))
    contracts = {}
    for symbol in SYMBOLS:
        kinds = rng.choice(["linear", "linear", "linear", "face_value"])
        fee = float(rng.choice([0.0, 0.0, 1 / 256])) if dyadic else float(rng.choice([0.0, 0.0006]))
        contracts[symbol] = Contract(
            symbol=symbol,
            kind=str(kinds),  # type: ignore[arg-type]
            basis=str(rng.choice(["mark", "mark", "entry"])),  # type: ignore[arg-type]
            trigger=trigger,  # type: ignore[arg-type]
            closing_fee="at_mark" if fee else "none",
            closing_fee_rate=fee,
            tables=tuple(random_tables(rng, dyadic)),
        )
    apply = str(rng.spawn(1)[0].choice(["entry", "always"]))
    return Venue(name="random", title="Random", contracts=contracts, tiers_apply=apply)


def random_tables(rng: Rng, dyadic: bool) -> list[TierTable]:
    tables = [random_table(rng, dyadic, "first")]
    if rng.random() < 0.3:
        turn = START + MINUTE * int(rng.integers(1, 30))
        tables = [
            random_table(rng, dyadic, "first", end=turn),
            random_table(rng, dyadic, "second", start=turn),
        ]
    return tables


def random_table(rng: Rng, dyadic: bool, name: str, **dates: Any) -> TierTable:
    model = str(rng.choice(["marginal", "marginal", "flat", "leverage"]))
    if model == "leverage":
        return TierTable(name=name, model="leverage", rate_factor=0.5 if dyadic else 0.6, **dates)
    tiers = int(rng.integers(1, 6))
    choices = [1, 2, 3, 4, 6, 8, 12, 16, 32]
    rates = np.sort(rng.choice(choices, tiers, replace=False)) / 256
    floors = np.append(0.0, np.sort(rng.choice([16, 64, 128, 256, 512, 1024], tiers - 1, replace=False)))
    if not dyadic:
        rates = rates * rng.uniform(0.7, 1.0)
    size = "contracts" if model == "flat" and rng.random() < 0.3 else "notional"
    boundary = str(rng.choice(["lower", "higher"]))
    return TierTable(
        name=name,
        model=model,  # type: ignore[arg-type]
        floors=floors,
        rates=rates,
        size=size,  # type: ignore[arg-type]
        contract_size=0.25 if size == "contracts" else 1.0,
        boundary=boundary,  # type: ignore[arg-type]
        **dates,
    )


def random_accounts(
    rng: Rng, bars: pl.DataFrame, length: int, count: int, dyadic: bool
) -> dict[str, pl.DataFrame]:
    """Return accounts of one to six legs: hedged or not, in one symbol or several, with and without collateral."""
    legs: list[tuple[Any, ...]] = []
    coins: list[tuple[Any, ...]] = []
    moved: list[tuple[Any, ...]] = []
    opened = dict(bars.group_by("symbol").agg(pl.col("time").min()).iter_rows())
    for account in range(count):
        symbols = rng.choice(SYMBOLS, int(rng.choice([1, 1, 2, 3])), replace=False)
        kind = str(rng.choice(["one", "random", "hedged"]))
        number = 1 if kind == "one" and rng.random() < 0.5 else int(rng.integers(1, 7))
        side, previous = str(rng.choice(["long", "short"])), None
        for leg in range(number):
            symbol = str(rng.choice(symbols))
            quantity = float(2.0 ** rng.integers(-2, 4)) if dyadic else float(rng.lognormal(0.5, 1))
            if kind == "random":
                side = str(rng.choice(["long", "short"]))
            elif kind == "hedged" and leg % 2 and previous:
                symbol, side, quantity = previous[0], {"long": "short", "short": "long"}[previous[1]], previous[2]
            previous = (symbol, side, quantity)
            entry = opened[symbol] + entry_after(rng, length)
            price = float(max(rounded(rng.normal(64, 3, 1), dyadic, 16)[0], 1.0))
            exit_time = entry + MINUTE * float(rng.choice([1, 5, 12.5, 40])) if rng.random() < 0.25 else None
            leverage = float(rng.choice([1, 2, 4, 8, 16, 32, 64]))
            legs.append((account, symbol, side, entry, price, quantity, leverage, exit_time))
        if rng.random() < 0.35:
            for symbol in rng.choice(SYMBOLS, int(rng.integers(1, 3)), replace=False):
                units = float(2.0 ** rng.integers(-2, 3)) * float(rng.choice([1, 1, 1, -1]))
                coins.append((account, str(symbol), units if dyadic else units * float(rng.uniform(0.5, 1.5))))
        for _ in range(int(rng.choice([0, 0, 0, 1, 3]))):
            time = START + MINUTE * int(rng.integers(0, length)) + timedelta(seconds=int(rng.choice([0, 20])))
            moved.append((account, time, float(rounded(rng.normal(0, 16, 1), dyadic, 64)[0])))
    names = ("account_id", "symbol", "side", "entry_time", "entry_price", "quantity", "leverage", "exit_time")
    kinds = (pl.Int64, pl.String, Side, Time, pl.Float64, pl.Float64, pl.Float64, Time)
    frame = pl.DataFrame(legs, schema=dict(zip(names, kinds, strict=True)), orient="row")
    ids = pl.Series("leg_id", rng.permutation(frame.height))
    order = rng.permutation(frame.height)
    accounts = {"account_id": np.arange(count), "wallet": np.zeros(count)}
    if rng.random() < 0.3:
        accounts["order_margin"] = rounded(rng.exponential(4, count), dyadic, 64)
    return {
        "accounts": pl.DataFrame(accounts),
        "legs": frame.with_columns(ids)[order.tolist()],
        "collateral": pl.DataFrame(coins, schema=columns(COLLATERAL), orient="row"),
        "haircuts": random_haircuts(rng, dyadic),
        "transfers": pl.DataFrame(moved, schema=columns(TRANSFERS), orient="row"),
    }


def entry_after(rng: Rng, length: int) -> timedelta:
    """Return how long after a symbol's first bar a leg is opened; now and then never, for the history."""
    if rng.random() < 0.4:
        return timedelta(0)
    return MINUTE * int(rng.integers(0, length + 1)) + timedelta(seconds=int(rng.choice([0, 0, 30])))


def random_haircuts(rng: Rng, dyadic: bool) -> pl.DataFrame:
    rows = []
    for symbol in SYMBOLS:
        tiers = int(rng.integers(0, 4))
        floors = np.append(0.0, np.sort(rng.choice([32, 64, 128, 256], max(tiers - 1, 0), replace=False)))
        cuts = np.sort(rng.choice([0, 1, 2, 4, 8, 16, 32], tiers, replace=False)) / 32
        cuts = cuts if dyadic else cuts * 0.97
        rows += [(symbol, float(floor), float(cut)) for floor, cut in zip(floors, cuts, strict=False)]
    return pl.DataFrame(rows, schema=columns(HAIRCUTS), orient="row")


def columns(schema: Any) -> dict[str, Any]:
    return {column.name: column.dtype for column in schema.columns}


def with_ties(
    rng: Rng,
    frames: dict[str, pl.DataFrame],
    bars: pl.DataFrame,
    funding: pl.DataFrame | None,
    venue: Venue,
    options: dict[str, Any],
) -> pl.DataFrame:
    """Return the accounts with wallets: of most, one that makes V zero at some bar under some convention."""
    world = reference.world_of(
        frames, bars, funding, venue, **{name: options[name] for name in ("profit", "hedged", "gap_limit_ms")}
    )
    wallets = []
    for account, legs, coins, transfers in reference.members(frames, world):
        held = [m for m in reference.moments(legs, coins, transfers, 0.0, world) if m.state is not None]
        if not held or rng.random() < 0.1:
            wallets.append(float(rng.exponential(64)))
            continue
        lived = held[: 1 + int(rng.integers(0, len(held)))]
        convention = str(rng.choice(["own_worst", "joint_worst", "closes"]))
        wallets.append(account.get("order_margin", 0.0) - least_left_over(lived, world, convention))
    return frames["accounts"].with_columns(wallet=pl.Series(wallets))


def least_left_over(lived: list[reference.Moment], world: dict[str, Any], convention: str) -> float:
    """Return the least V of a life without a wallet: less than that, and it ends before."""
    least = np.inf
    for moment in lived:
        if moment.state is not None:
            for view in moment.state.views():
                hit = reference.worst_prices(moment.state, world["grid"], moment.bar, convention, view)
                least = min(least, hit.V)
    return float(least)
