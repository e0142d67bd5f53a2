"""What another policy would have made of a history that already holds its own cascade.

A real history contains the impact of the liquidations that happened in it. Under another policy the mark would
have been

    history x exp(G x (flow under the facts - flow under the policy))          for longs, whose flow is sold

(shorts mirrored), G the strength of a unit of notional. Inside a bar the two flows are resolved together, one
event at a time down (or up) the historical leg: waves would overshoot, because each liquidation that is *left out*
keeps others from happening. A factual event is a jump the history itself made; taking it out moves the
counterfactual mark back. A position that crosses in both worlds at one moment does both at once, so that the same
policy gives an offset of exactly zero.

Linear contracts, one symbol, positions without stops or adjustments, impact that stays. Liquidation prices are
those of the entry: what funding does to them is left out on both sides. Plain Python, for books up to a million.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from backtest.book.book import Book
from backtest.engine.sweep import sweep
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.timeline import Tiers
from backtest.rules.venue import Venue

#: Logarithms that are the same price but for rounding; there the margin formula decides.
TIE = 1e-12
#: A mark moved by a factor of e and more is not an estimate any longer.
LARGEST_OFFSET = 1.0


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """What would have been."""

    outcomes: pl.DataFrame  #: ``position_id, liquidated, outcome_time, fill_price`` under the policy
    path: pl.DataFrame  #: ``time, offset, mark`` (close) and notional liquidated in both worlds, bar by bar


def facts_of(book: Book, market: Market, venue: Venue, *, tiers: Tiers = "strict") -> pl.DataFrame:
    """Return what a venue's rules made of a book in the history itself, funding left out."""
    return sweep(book, _without_funding(market), venue, tiers=tiers)


def counterfactual(
    book: Book,
    market: Market,
    facts: pl.DataFrame,
    policy: Venue,
    *,
    strength: float,
    sold: float = 1.0,
    facts_sold: float = 1.0,
    tiers: Tiers = "strict",
) -> Counterfactual:
    """Return what a book would have lived through under another policy.

    Parameters
    ----------
    book, market
        One symbol of a linear contract, positions that their holders close by a planned exit or not at all.
    facts
        Outcomes of the same positions in the history: of :func:`facts_of`, or of a replay that made the history.
    policy
        Rules that decide the liquidation prices of the other world.
    strength
        G: logarithm of the mark a unit of notional sold in the market.
    sold, facts_sold
        Share of the liquidated notional that goes to the market under the policy (0: none is sold, as where a
        backstop takes everything over and holds it) and in fact.

    Raises
    ------
    ArgumentError
        For several symbols, other contracts, stops or adjustments, long gaps, facts of other positions, shares
        outside 0 to 1, and a strength under which the mark runs away.
    """
    _check(book, market, policy, strength, sold, facts_sold)
    if not facts["position_id"].equals(book.positions["position_id"]):
        raise ArgumentError("facts must be outcomes of the book's positions, row by row: their position_id differ")
    undisturbed = sweep(book, _without_funding(market), policy, tiers=tiers)
    world = _World(book, market, facts, undisturbed, strength, sold, facts_sold)
    offsets, flows = world.run()
    times = market.bars["time"]
    outcomes = book.positions.select("position_id").with_columns(
        liquidated=pl.Series(world.bars >= 0),
        outcome_time=times.gather(pl.Series(np.maximum(world.bars, 0))),
        fill_price=pl.Series(world.fills),
    )
    kept = pl.col("liquidated")
    path = pl.DataFrame(
        {
            "time": times,
            "offset": offsets,
            "mark": market.prices("mark", "close") * np.exp(offsets),
            "facts_notional": flows[0],
            "policy_notional": flows[1],
        }
    )
    return Counterfactual(outcomes.with_columns(pl.when(kept).then(pl.col("outcome_time", "fill_price"))), path)


def _without_funding(market: Market) -> Market:
    return Market(market.bars, gap_limit=market.gap_limit, description=market.description)


def _check(book: Book, market: Market, policy: Venue, strength: float, sold: float, facts_sold: float) -> None:
    if len(market.symbols) != 1 or policy.contract(market.symbols[0]).kind != "linear":
        raise ArgumentError(
            f"a counterfactual needs one symbol of a linear contract: there are {', '.join(market.symbols)}"
        )
    planned = {"stop_price", "take_profit_price"} & set(book.positions.columns)
    if book.adjustments is not None or any(book.positions[name].null_count() < len(book) for name in planned):
        raise ArgumentError("a counterfactual takes positions without stops, take-profits and adjustments")
    if market.gaps()["long"].any():
        raise ArgumentError("a counterfactual needs bars without long gaps: what happened in them is unknown")
    for name, share in (("sold", sold), ("facts_sold", facts_sold)):
        if not 0 <= share <= 1:
            raise ArgumentError(f"{name} must lie between 0 and 1, is {share!r}")
    if not 0 <= strength < math.inf:
        raise ArgumentError(f"strength must be zero or more, is {strength!r}")


@dataclass
class _World:
    """Both worlds, stepped together."""

    book: Book
    market: Market
    facts: pl.DataFrame
    undisturbed: pl.DataFrame  #: what the policy would have made of the history itself
    strength: float
    sold: float
    facts_sold: float
    offset: float = 0.0
    waiting: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: {1: [], -1: []})

    def __post_init__(self) -> None:
        """Sort what happens by bar."""
        times, positions = self.market.times, self.book.positions
        count = positions.height
        self.side = np.where((positions["side"] == "long").to_numpy(), 1, -1)
        self.quantity = positions["quantity"].to_numpy()
        self.entry = np.searchsorted(times, positions["entry_time"].to_physical().to_numpy())
        self.exit = np.full(count, times.size + 1)
        if "exit_time" in positions.columns:
            exits = positions["exit_time"].to_physical().fill_null(np.iinfo(np.int64).max).to_numpy()
            self.exit = np.searchsorted(times, exits)
        self.levels = self.undisturbed["liquidation_price"].fill_null(0.0).to_numpy()
        self.alone = _bars_of(self.undisturbed, times)
        self.bars, self.fills = np.full(count, -1), np.full(count, np.nan)
        self.keys = np.full(count, -np.inf)  # side x logarithm of the level, repriced at the entry
        self.entering = _by_bar(self.entry, np.arange(count), times.size)
        hit = self.facts["liquidated"].to_numpy()
        rows = np.flatnonzero(hit)
        self.happened = _by_bar(_bars_of(self.facts, times)[rows], rows, times.size)
        self.fact_price = self.facts["fill_price"].fill_null(1.0).to_numpy()
        self.fact_notional = self.facts["fill_notional"].fill_null(0.0).to_numpy()

    def run(self) -> tuple[Any, Any]:
        """Step through the bars; return the offset after each and the notional of both worlds."""
        bars = self.market
        prices = [np.log(bars.prices("mark", part)).tolist() for part in ("open", "high", "low")]
        first_low = (
            bars.prices("mark", "open") - bars.prices("mark", "low")
            < bars.prices("mark", "high") - bars.prices("mark", "open")
        ).tolist()
        offsets, flows = np.zeros(len(first_low)), np.zeros((2, len(first_low)))
        for bar, (opening, high, low) in enumerate(zip(*prices, strict=True)):
            for i in self.entering.get(bar, ()):
                s = int(self.side[i])
                if self.levels[i] > 0:
                    self.keys[i] = s * (math.log(self.levels[i]) + self.offset)
                    heapq.heappush(self.waiting[s], (-self.keys[i], i))
            facts = self.happened.get(bar, [])
            for s in (1, -1) if first_low[bar] else (-1, 1):
                own = [i for i in facts if self.side[i] == s]
                flows[:, bar] += self.walk(bar, s, opening, low if s > 0 else high, own)
            offsets[bar] = self.offset
        return offsets, flows

    def walk(self, bar: int, s: int, opening: float, extreme: float, facts: list[int]) -> tuple[float, float]:
        """Go along one leg of a bar, from the opening to the extreme; levels are s x logarithms, falling."""
        x, end, queue = s * opening, s * extreme, self.waiting[s]
        order = sorted(facts, key=lambda i: (-s * math.log(self.fact_price[i]), i))
        fact_flow = policy_flow = 0.0
        at = 0
        spared: list[tuple[float, int]] = []
        while True:
            while queue and (self.bars[queue[0][1]] >= 0 or self.exit[queue[0][1]] <= bar):
                heapq.heappop(queue)
            if queue and self.only_touched(queue[0][1], bar, -queue[0][0] - s * self.offset - end):
                spared.append(heapq.heappop(queue))
                continue
            fact = s * math.log(self.fact_price[order[at]]) if at < len(order) else -math.inf
            candidate = -queue[0][0] - s * self.offset if queue else -math.inf
            if candidate < end:
                candidate = -math.inf
            if fact == candidate == -math.inf:
                for waiting in spared:
                    heapq.heappush(queue, waiting)
                return fact_flow, policy_flow
            x = min(x, max(fact, candidate))
            if fact >= x:
                i, at = order[at], at + 1
                notional = float(self.fact_notional[i])
                fact_flow += notional
                move = -self.facts_sold * notional
                if self.crosses_too(i, x, s, bar):
                    move = (self.sold - self.facts_sold) * notional
                    policy_flow += notional
                    self.liquidate(i, bar, fact, s)
                self.offset -= s * self.strength * move
                x = max(x - self.strength * self.facts_sold * notional, end)  # the history itself jumped
            else:
                i = heapq.heappop(queue)[1]
                self.liquidate(i, bar, x, s)
                notional = float(self.quantity[i] * self.fills[i])
                policy_flow += notional
                self.offset -= s * self.strength * self.sold * notional

    def only_touched(self, i: int, bar: int, beyond: float) -> bool:
        """Whether a level lies on a bar's extreme, the mark being the history's, and the margin formula holds."""
        return self.offset == 0.0 and abs(beyond) <= TIE and self.alone[i] != bar

    def crosses_too(self, i: int, x: float, s: int, bar: int) -> bool:
        """Whether a position that crosses in fact crosses at this moment in the other world as well."""
        waits = self.bars[i] < 0 and self.exit[i] > bar
        return bool(waits and self.keys[i] - s * self.offset >= x - TIE)

    def liquidate(self, i: int, bar: int, x: float, s: int) -> None:
        """Note where a position ends."""
        if abs(self.offset) > LARGEST_OFFSET:
            raise ArgumentError(f"strength {self.strength:g} lets the mark run away: take a smaller one")
        self.bars[i], self.fills[i] = bar, math.exp(s * x + self.offset)


def _bars_of(outcomes: pl.DataFrame, times: Any) -> Any:
    """Return the bar each position was liquidated in, -1 where it was not."""
    moments = outcomes["outcome_time"].to_physical().fill_null(0).to_numpy()
    return np.where(outcomes["liquidated"].to_numpy(), np.searchsorted(times, moments), -1)


def _by_bar(at: Any, rows: Any, bars: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for bar, row in zip(at.tolist(), rows.tolist(), strict=True):
        if bar < bars:
            found.setdefault(bar, []).append(row)
    return found
