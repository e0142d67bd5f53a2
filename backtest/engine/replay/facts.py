"""Facts of a replay: executions of liquidations event by event, recorded by one replay and followed by another."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from backtest.engine.columns import categories
from backtest.engine.replay.frames import ids_of
from backtest.errors import ArgumentError, DataError
from backtest.kernel.choices import FlowMode
from backtest.kernel.counterfactual import flow as kernel
from backtest.kernel.replay import state
from backtest.kernel.types import Integers
from backtest.market.market import Market
from backtest.rules.procedure import Impact
from backtest.schemas.frames import Side, Time
from backtest.schemas.rules import FILL_PRICE, IN_RANGE, NOT_NEGATIVE
from backtest.schemas.validation import Column, Schema, conform, named_alike, offence

#: When in a bar: at its opening, on the way to its low or high, or at its end, when ADL runs; where holders act at
#: the opening, and where they leave inside the bar.
STAGES = ("opening", "low", "high", "low end", "high end", "actions", "exits")
STAGE = pl.Enum(STAGES)

FLOW = Schema(
    "facts",
    (
        Column("symbol", pl.String),
        Column("time", Time, IN_RANGE),
        Column("stage", STAGE),
        Column("side", Side),
        Column("position_id", pl.Int64, nullable=True, or_text=True),
        Column("price", pl.Float64, FILL_PRICE),
        Column("notional", pl.Float64, NOT_NEGATIVE),
    ),
)


def require_mergeable(impact: Impact) -> None:
    """Refuse orders and caps of waves where events go one by one, in order of price."""
    if impact.order != "price" or impact.waves:
        raise ArgumentError(
            "facts are followed one event at a time, in order of price: impact.order must be 'price' and "
            f"impact.waves 0, are {impact.order!r} and {impact.waves}"
        )


def require_facts(facts: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return the facts as their schema has them, with the ``row`` of their bar, refusing those of no bar."""
    facts = conform(facts, FLOW)
    bars = market.bars.select("symbol", "time").with_row_index("row")
    placed = facts.join(bars, on=("symbol", "time"), how="left", maintain_order="left")
    strange = placed["row"].is_null()
    if strange.any():
        sentence = "time must be the opening of a bar of the symbol"
        raise DataError(offence(placed, "facts", sentence, pl.col("row").is_null(), ("symbol", "time")))
    return placed


def following(placed: pl.DataFrame, frame: pl.DataFrame, market: Market, world: state.World) -> Any:
    """Return facts as the kernel follows them: in the order bars and their legs are walked.

    Parameters
    ----------
    placed : as :func:`require_facts` returns them
    frame : the positions that are replayed; who is none of them is a stranger
    """
    facts = np.zeros(placed.height, kernel.FLOW)
    placed = named_alike(placed, "position_id", frame.schema["position_id"])
    ids = frame.select("position_id").with_row_index("who")
    who = placed.join(ids, on="position_id", how="left", maintain_order="left")["who"].cast(pl.Int64)
    stage, side = placed["stage"].to_physical().to_numpy(), placed["side"].to_physical().to_numpy()
    leg = (stage - 1) % 2
    facts["row"], facts["price"], facts["notional"] = (placed[name] for name in ("row", "price", "notional"))
    facts["who"] = np.where((stage == 3) | (stage == 4), kernel.POOL, who.fill_null(kernel.STRANGER).to_numpy())
    outside = {0: kernel.OPENING, 5: kernel.ACTING, 6: kernel.LEAVING}
    facts["stage"] = np.select([stage == code for code in outside], [own + side for own in outside.values()], leg)
    facts["side"] = side
    facts = facts[_walk_order(facts, market, world)]
    facts["by_price"] = _price_order(facts)
    return facts


def _walk_order(facts: Any, market: Market, world: state.World) -> Integers:
    """Return the order facts are met in: bars by time, openings, actions, legs as each bar has them, exits."""
    rank = np.empty(market.bars.height, np.int64)
    rank[np.argsort(market.times, kind="stable")] = np.arange(rank.size)
    bars = world.bars[facts["row"]]
    low_first = bars["open"] - bars["low"] < bars["high"] - bars["open"]
    leg = 4 + (facts["stage"] != np.where(low_first, 0, 1))
    stage = facts["stage"]
    place = np.select([stage >= kernel.LEAVING, stage >= kernel.OPENING], [stage, stage - kernel.OPENING], leg)
    return np.lexsort((place, rank[facts["row"]])).astype(np.int64)


def _price_order(facts: Any) -> Integers:
    """Return, within each leg, the facts in the order of price in which the leg meets them."""
    stage = facts["stage"].astype(np.int64)
    starts = np.append(True, (np.diff(facts["row"]) != 0) | (np.diff(stage) != 0))[: facts.size]
    toward = np.where(stage == 1, facts["price"], -facts["price"])
    return np.lexsort((np.arange(facts.size), toward, np.cumsum(starts))).astype(np.int64)


def merge_of(mode: int, facts: Any, world: state.World, room: int) -> kernel.Merge:
    """Return the arrays of a replay's flow; ``room`` is the number of events."""
    plain = mode == FlowMode.PLAIN
    counts = np.zeros(kernel.COUNTED, np.int64)
    counts[kernel.MODE] = mode
    return kernel.Merge(
        counts=counts,
        facts=np.zeros(0, kernel.FLOW) if facts is None else facts,
        flow=np.zeros(0 if plain else room, kernel.FLOW),
        seen=np.zeros(0 if plain else world.book.size, np.int64),
        gathered=np.zeros(0 if plain else world.queues.size),
    )


def roomier(merge: kernel.Merge, world: state.World) -> kernel.Merge:
    """Return the same with a stamp for each place of a world that has grown."""
    if merge.counts[kernel.MODE] == FlowMode.PLAIN:
        return merge
    seen = np.zeros(world.book.size, np.int64)
    seen[: merge.seen.size] = merge.seen
    return merge._replace(seen=seen)


def flow(merge: kernel.Merge, world: state.World, market: Market, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the recorded flow: one row per event, in order.

    Whoever is liquidated at every price is so at the opening.
    """
    own = merge.flow[: int(merge.counts[kernel.WRITTEN])]
    price = np.where(np.isfinite(own["price"]), own["price"], world.bars["open"][own["row"]])
    outside = {6: kernel.LEAVING, 5: kernel.ACTING, 0: kernel.OPENING}
    leg = 1 + own["stage"] + 2 * (own["who"] == kernel.POOL)
    stage = np.select([own["stage"] >= first for first in outside.values()], list(outside), leg)
    return market.bars.select("symbol", "time")[own["row"]].with_columns(
        stage=categories(STAGE, stage),
        side=categories(Side, own["side"]),
        position_id=ids_of(frame, own["who"]).alias("position_id"),
        price=pl.Series(price),
        notional=pl.Series(np.ascontiguousarray(own["notional"])),
    )
