"""Frames of a replay's results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from backtest.engine.columns import categories, numbers, times, where
from backtest.engine.outcomes import named, price_venue
from backtest.engine.sweep.prepare import Prepared
from backtest.engine.sweep.survey import symbol_codes
from backtest.kernel.choices import ContractKind, OutcomeCode
from backtest.kernel.replay import entries, state
from backtest.kernel.replay.codes import DONE, LEDGER, LOCKED, WAITING
from backtest.kernel.types import Floats, Integers
from backtest.market.market import Market
from backtest.schemas.frames import OUTCOME_COLUMNS, ReplayOutcome, Side

#: Columns of the replay's outcomes beyond those of a sweep.
REPLAY_COLUMNS = (
    "filled_in_market", "taken_over", "deleveraged", "fees", "fund_effect", "clawed_back", "pnl_at_end",
    "moved_entry_price", "moved_margin",
)  # fmt: skip
#: Columns of what kernels name otherwise.
COLUMN_OF = {
    "time": "outcome_time", "paid": "funding_paid", "equity": "equity_at_fill", "filled": "filled_in_market",
    "taken": "taken_over", "clawed": "clawed_back",
}  # fmt: skip


def outcomes(
    frame: pl.DataFrame,
    prepared: Prepared,
    found: entries.Found,
    held: tuple[Integers, Floats],
    tiers: Mapping[str, pl.Series],
) -> pl.DataFrame:
    """Return the positions with their outcomes.

    ``held`` is what :func:`held_at_end` returns, ``tiers`` what :func:`~backtest.engine.outcomes.tiers_of` does.
    """
    arrays = {COLUMN_OF.get(name, name): array for name, array in found._asdict().items()}
    arrays |= {"shortfall": np.maximum(0.0, -found.equity) + 0.0, "pnl_at_end": pnl_at_end(found, held)}
    liquidated = found.outcome == OutcomeCode.LIQUIDATED
    arrays["certainly_liquidated"] = liquidated & ~found.ambiguous
    arrays["possibly_liquidated"] = liquidated | found.ambiguous
    symbols = symbol_codes(frame["symbol"], prepared.market.symbols)
    arrays["outcome_until"] = found.time + prepared.market.intervals[symbols]
    origin = {**tiers, "price_venue": price_venue(prepared.market)}
    return named(frame, prepared.held, ReplayOutcome, arrays, origin, (*OUTCOME_COLUMNS, *REPLAY_COLUMNS))


def held_at_end(world: state.World, market: Market) -> tuple[Integers, Floats]:
    """Return the rows of positions still open, and their value at the last mark."""
    book = world.book[: int(world.counters[state.PLACES_USED])]
    book = book[(book["lots"] > 0) & (book["status"] != DONE)]
    worth = (1.0 - 2.0 * book["side"]) * book["quantity"] * _values(world, market)[book["symbol"]]
    return book["row"].astype(np.int64), worth


def pnl_at_end(found: entries.Found, held: tuple[Integers, Floats]) -> Floats:
    """Return (n,) each position's result, what is still held at the last mark; before fees, as ``realised_pnl``.

    NaN of a position lost from sight.
    """
    results = found.pnl_at_end.copy()
    results[held[0]] += held[1]
    return results


def fund(world: state.World, market: Market) -> pl.DataFrame:
    """Return the fund and its payments, in order of time, of every bar in which it moved.

    ``symbol, time, fund, paid_in, paid_out``, of these ``deposits``, and ``inventory``: its result of sales.
    """
    unit, steps = float(world.settings[0]["unit"]), world.steps
    order = np.argsort(market.times, kind="stable")
    moved = order[(steps["fund_in"][order] != 0) | (steps["fund_out"][order] != 0)]
    rows = np.unique(np.concatenate([order[:1], moved, order[-1:]]))
    rows = rows[np.argsort(market.times[rows], kind="stable")]
    return _bars(market, rows).with_columns(
        fund=pl.Series(steps["fund"][rows] / unit),
        paid_in=pl.Series(steps["fund_in"][rows] / unit),
        paid_out=pl.Series(steps["fund_out"][rows] / unit),
        deposits=pl.Series(steps["deposits"][rows] / unit),
        inventory=pl.Series(steps["inventory"][rows] / unit),
    )


def impact(world: state.World, market: Market) -> pl.DataFrame:
    """Return one row per bar: the mark's offset, waves, caps, and notional by side of position."""
    unit, steps = float(world.settings[0]["unit"]), world.steps
    rows = np.arange(steps.size)
    flows = {
        f"{side}_{name}": pl.Series(steps[name][:, number] / unit)
        for name in ("triggered", "executed", "taken_over", "deleveraged")
        for number, side in enumerate(("long", "short"))
    }
    counts = {name: pl.Series(np.ascontiguousarray(steps[name])) for name in ("waves", "capped")}
    return _bars(market, rows).with_columns(
        offset=pl.Series(np.ascontiguousarray(steps["offset"])),
        **counts,
        runaway=pl.Series(steps["runaway"] != 0),
        first_wave=pl.Series(steps["first_wave"] / unit),
        **flows,
    )


def adl(world: state.World, market: Market, frame: pl.DataFrame) -> pl.DataFrame:
    """Return one row per ADL match: liquidated position (null: inventory), counterparty, quantity and price."""
    unit_rows = world.table[: int(world.counters[state.TABLE_USED])]
    return _bars(market, unit_rows["row"]).with_columns(
        liquidated_id=ids_of(frame, unit_rows["liquidated"]),
        counterparty_id=ids_of(frame, unit_rows["counterparty"]),
        side=categories(Side, unit_rows["side"]),
        quantity=pl.Series(np.ascontiguousarray(unit_rows["quantity"])),
        price=_finite(unit_rows["price"]),
        **{name: pl.Series(np.ascontiguousarray(unit_rows[name])) for name in ("score", "given_up")},
    )


def ids_of(frame: pl.DataFrame, rows: Integers) -> pl.Series:
    """Return the ids of positions by row; null where the row is negative."""
    return frame["position_id"].gather(where(rows >= 0, pl.Series(np.ascontiguousarray(rows))))


def ledger(world: state.World, market: Market) -> pl.DataFrame:
    """Return ``account, cash, unrealised, total`` in whole units; the columns add up to zero.

    Unrealised is what is held, closed on paper at the last mark. ``pending`` are positions whose procedure has not
    ended; ``owners`` is what the venue put into the fund, negative.
    """
    held, waiting = _unrealised(world, market, False), _unrealised(world, market, True)
    stock = inventory(world, market)
    locked = world.book["status"] == LOCKED
    pending = int((world.book["pocket"][locked] + world.book["balance"][locked]).sum())
    cash = {name: int(amount) for name, amount in zip(LEDGER, world.cash, strict=True)}
    cash["traders"] -= pending
    paper = dict.fromkeys(cash, 0) | {"traders": held, "backstop": stock, "market": -(held + waiting + stock)}
    names = ["traders", "pending", *LEDGER[1:]]
    cash["pending"], paper["pending"] = pending, waiting
    return pl.DataFrame(
        {
            "account": names,
            "cash": [cash[name] for name in names],
            "unrealised": [paper[name] for name in names],
            "total": [cash[name] + paper[name] for name in names],
        }
    )


def trace(world: state.World) -> pl.DataFrame:
    """Return every step of the traced position."""
    rows, unit = world.trace[: int(world.counters[state.TRACE_USED])], float(world.settings[0]["unit"])
    columns = {name: pl.Series(np.ascontiguousarray(rows[name])) for name in
               ("quantity", "held", "equity", "maintenance_margin")}  # fmt: skip
    columns["price"] = _finite(rows["price"])
    return pl.DataFrame(
        {
            "time": times(world.bars["time"][rows["row"]]),
            "step": categories(pl.Enum(state.STEPS), rows["step"]),
            "price": columns.pop("price"),
            **columns,
            "balance": pl.Series(rows["balance"] / unit),
            "fund": pl.Series(rows["fund"] / unit),
        }
    )


def last_marks(world: state.World, market: Market) -> Floats:
    """Return (symbols,) the last mark, offset included."""
    close = market.prices("mark", "close")[market.firsts[1:] - 1]
    return np.asarray(close * np.exp(world.symbols["permanent"] + world.symbols["decaying"]))


def _unrealised(world: state.World, market: Market, locked: bool) -> int:
    """Return what closing every open position at the last mark would post, in units."""
    book = world.book
    open_ = (book["lots"] > 0) & (book["status"] != WAITING) & ((book["status"] == LOCKED) == locked)
    own = book[open_]
    value = _values(world, market)[own["symbol"]]
    signed = (1.0 - 2.0 * own["side"]) * own["quantity"]
    return int(np.rint(signed * value * float(world.settings[0]["unit"])).astype(np.int64).sum())


def inventory(world: state.World, market: Market) -> int:
    """Return what selling the backstop's inventory at the last mark would post, in units."""
    total, unit = 0, float(world.settings[0]["unit"])
    for number, value in enumerate(_values(world, market)):
        lots = world.symbols[number]["inventory"]
        total += round((int(lots[0]) - int(lots[1])) * float(world.symbols[number]["lot"]) * float(value) * unit)
    return total


def _values(world: state.World, market: Market) -> Floats:
    marks = last_marks(world, market)
    return np.where(world.symbols["kind"] == ContractKind.INVERSE, -1.0 / np.where(marks > 0, marks, 1.0), marks)


def _bars(market: Market, rows: Integers) -> pl.DataFrame:
    return market.bars.select("symbol", "time")[rows]


def _finite(values: Floats) -> pl.Series:
    return numbers(np.where(np.isfinite(values), values, np.nan))
