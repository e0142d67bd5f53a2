"""Every chart of the package, drawn of usual and odd histories and books, at two sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import Any

import level_cases
import numpy as np
import polars as pl
from level_cases import positions, venue, waiting_only
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import backtest
from backtest import Accounts, Book, Impact, Market
from backtest.chart import levels as level_charts
from backtest.chart import liquidations as liquidation_charts
from backtest.chart import venues as venue_charts
from backtest.chart.liquidations import cascade_figures
from backtest.chart.liquidations.indicators import areas
from backtest.chart.style.looks import Size
from backtest.study import fund, levels
from backtest.study.holders import account_path, replay_alerts
from backtest.study.levels.evaluation import Pull, hidden_events, magnet, score
from backtest.study.liquidations import cascades, feed_throttling, flow, imbalance, tails, without_liquidations
from backtest.study.margins import period_moves, rolling_margins
from backtest.study.prediction import liquidation_at_risk
from backtest.study.survival import kaplan_meier, lives

#: Inches: a usual figure, a small one, and an upright one, as a phone is held.
SIZES = {"usual": (10.0, 6.25), "small": (5.0, 3.4), "portrait": (5.0, 8.89)}

NOTES = ("prices: a random walk", "rules: One, one tier in force (official)", "400 positions", "no gaps")
WORDS = {"title": "Liquidations of A, 19 to 28 May 2021", "subtitle": "12.2 % of the A book was liquidated"}


@dataclass(frozen=True)
class World:
    """A history and a book, and what charts need of them."""

    level: float = 100.0
    seed: int = 1
    daily: float = 0.01  #: moves of an hour
    bars: int = 240
    count: int = 400
    leverage: float | None = None  #: of all positions
    side: str | None = None  #: of all positions
    columns_of_grid: int = 120
    prices_of_grid: tuple[float, float] | None = None  #: as parts of the first price

    @cached_property
    def market(self) -> Market:
        return level_cases.market(bars=self.bars, level=self.level, seed=self.seed, daily=self.daily)

    @cached_property
    def book(self) -> Book:
        rows = waiting_only(positions(self.market, count=self.count, seed=self.seed + 1)).with_columns(
            pl.col("quantity") * 1e6 / self.level,
            pl.min_horizontal("entry_time", pl.lit(self.market.bars["time"][-1])),
        )
        rows = rows if self.leverage is None else rows.with_columns(leverage=pl.lit(self.leverage))
        return Book(rows if self.side is None else rows.with_columns(side=pl.lit(self.side)))

    @cached_property
    def singles(self) -> Book:
        return Book(self.book.positions.drop("weight"))

    @cached_property
    def prices(self) -> pl.DataFrame:
        return self.market.bars

    @cached_property
    def window(self) -> tuple[Any, Any]:
        return self.prices["time"][0], self.prices["time"][-1] + timedelta(hours=1)

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        return backtest.sweep(self.book, self.market, venue())

    @cached_property
    def flow(self) -> pl.DataFrame:
        return flow.by_interval(self.outcomes, start=self.window[0], end=self.window[1])

    @cached_property
    def levels(self) -> levels.Levels:
        parts = self.prices_of_grid
        prices = None if parts is None else (parts[0] * self.level, parts[1] * self.level)
        grid = levels.level_grid(self.market, "A", bins=300, columns=self.columns_of_grid, prices=prices)
        return levels.levels_of(self.book, self.market, venue(), grid)

    @cached_property
    def columns(self) -> pl.DataFrame:
        return levels.column_bars(self.market, self.levels.grid)

    @cached_property
    def map(self) -> levels.LevelMap:
        return levels.level_map(self.outcomes, self.market, "A", self.middle)

    @property
    def middle(self) -> Any:
        return self.window[0] + timedelta(hours=max(1, self.bars // 2))

    @cached_property
    def clusters(self) -> pl.DataFrame:
        rule = levels.Crowding(times=1.3)
        return levels.clusters_at(self.levels, self.market, self.middle, rule=rule, outcomes=self.outcomes)

    @cached_property
    def replayed(self) -> backtest.Replay:
        return backtest.replay(self.singles, self.market, venue(), fund=1e5, impact=Impact(linear=1e-9))


WORLDS = {
    "usual": World(),
    "tiny price": World(level=1.234e-6),
    "seven digits": World(level=3_456_789.0),
    "one bar": World(bars=1, count=20),
    "one position": World(count=1),
    "no liquidation": World(leverage=1.05),
    "dust": World(level=1.234e-9),
    "one column": World(columns_of_grid=1),
    "longs alone": World(side="long"),
    "nobody": World(count=0),
    "six years": World(bars=52_560),
    "grid above the price": World(prices_of_grid=(10.0, 20.0)),
}

#: Worlds that are drawn by tests/test_chart_edges.py alone.
ODD = ("dust", "one column", "longs alone", "nobody", "six years", "grid above the price")

Draw = Callable[[World, tuple[float, float]], Figure]


def _panel(draw: Callable[[World, Axes], Any]) -> Draw:
    """Return the chart of a panel alone, on axes with room for its words as a user makes them."""

    def figure(world: World, size: tuple[float, float]) -> Figure:
        made = Figure(figsize=size, dpi=100, layout="constrained")
        draw(world, made.add_subplot())
        return made

    return figure


def _sized(size: tuple[float, float]) -> Size:
    return Size(*size, 100)


def _own_or(size: tuple[float, float]) -> dict[str, Any]:
    """Return the size of a figure of panels: its own, or an upright or a small one."""
    return {} if size == SIZES["usual"] else {"size": _sized(size)}


@cache
def _tests() -> tuple[pl.DataFrame, pl.DataFrame]:
    world = WORLDS["usual"]
    labels = hidden_events(Book(positions(world.market, seed=9)), world.market, venue(), "A")
    return score(world.levels, world.market, labels, seed=1), magnet(
        world.levels, world.market, pull=Pull(every=timedelta(hours=9)), seed=1, draws=99
    )


def policies(histories: tuple[str, ...]) -> pl.DataFrame:
    """Return a grid whose losses differ a hundredfold between its histories."""
    rows = [
        {
            "history": history, "cap": cap, "response": response, "label": "none" if cap is None else f"{cap:g}x",
            "freedom": 1 - 0.2 * place / weight, "liquidated_share": 0.4 * weight / (place + 1),
            "notional_share": 0.2 * weight / (place + 1), "losses_per_million": 9_000 * weight * 100**number,
            "shortfall_per_million": 90 * weight / (place + 1) * 100.0 ** (len(histories) - number),
            "dominated": place == 2,
        }
        for number, history in enumerate(histories)
        for response, weight in (("same_size", 1.0), ("same_margin", 0.9), ("not_opened", 0.7))
        for place, cap in enumerate((None, 50.0, 20.0, 5.0))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"cap": pl.Float64})


def _procedures(histories: tuple[str, ...]) -> pl.DataFrame:
    rows = [
        {"history": history, "procedure": procedure, "fill": fill, "losses_per_million": 123_456.0 * most,
         "shortfall_per_million": 310.0 * most * 10**number, "adl_per_million": 0.0,
         "adl_notional_per_million": 12.3}
        for number, history in enumerate(histories)
        for procedure in ("returned", "to_fund", "in steps of the tier, then taken over")
        for fill, most in (("liquidation_price", 0.0), ("worst_price", 1.0))
    ]  # fmt: skip
    return pl.DataFrame(rows)


def _hedge_rows() -> pl.DataFrame:
    shares = {"isolated": [0.41, 0.05], "least": [0.02, 0.0], "common": [0.03, 0.0], "most": [0.06, 0.01]}
    return pl.DataFrame({"event": ["19 May 2021", "a day without a fall"], "leverage": [5, 20], **shares})


def _accounts(world: World) -> Accounts:
    rows = world.singles.positions.with_columns(margin=pl.col("entry_price") * pl.col("quantity") / 20)
    return Accounts.isolated(rows.head(50))


def _account(world: World, ax: Axes) -> None:
    held = _accounts(world)
    path = account_path(held, held.legs["account_id"][0], world.market, venue())
    venue_charts.account(path, ax, event=path["time"][len(path) // 2])


def _alerts(world: World, ax: Axes) -> None:
    found = {ratio: replay_alerts(_accounts(world), world.market, venue(), ratio=ratio) for ratio in (0.5, 0.8)}
    venue_charts.alert_lead_times(found, ax, bar=timedelta(hours=1))


def _sizes(_: World, ax: Axes) -> None:
    rng = np.random.default_rng(1)
    sizes = pl.Series(1e5 * (1 + rng.pareto(1.2, 300)))
    liquidation_charts.size_distribution(tails.exceedance(sizes), ax, tail=tails.fit(sizes))


def _found_cascades(world: World) -> pl.DataFrame:
    rule = cascades.GapRule(timedelta(hours=2), bar=timedelta(hours=1))
    return cascades.find(cascades.pulses(world.outcomes), rule)


def _throttle(_: World, ax: Axes) -> None:
    rates = np.geomspace(0.01, 100, 40).tolist()
    liquidation_charts.throttle(
        feed_throttling.curve(rates, dispersion=5.0), ax, published=0.159, source="shown by Bybit, 3 Feb 2025",
        implied={"uniform": 6.3, "clustered": 1.2},
    )  # fmt: skip


def _surface(_: World, ax: Axes) -> None:
    rows = [(side, leverage, timedelta(hours=hours), min(leverage / 400 * hours**0.5, 1.0))
            for side in ("long", "short") for hours in (1, 8, 24, 168)
            for leverage in (2.0, 5.0, 20.0, 50.0, 100.0)]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["side", "leverage", "horizon", "probability"], orient="row")
    liquidation_charts.probability_surface(frame, ax, side="long")


def _fit_loss(_: World, ax: Axes) -> None:
    values = np.geomspace(1, 125, 20)
    losses = [(side, "typical", value, 0.05 + np.log(value / best) ** 2)
              for side, best in (("long", 9.0), ("short", 1.0)) for value in values.tolist()]  # fmt: skip
    profile = pl.DataFrame(losses, schema=["side", "parameter", "value", "loss"], orient="row")
    bands = pl.DataFrame(
        {"side": ["long", "short"], "parameter": ["typical"] * 2, "estimate": [9.0, 1.0], "low": [5.0, 1.0],
         "high": [20.0, 2.0], "at_edge": [False, True]}
    )  # fmt: skip
    liquidation_charts.fit_loss(profile, bands, ax)


def _rolling(world: World, ax: Axes) -> None:
    moves = period_moves(world.market, timedelta(hours=4))
    found = [rolling_margins(moves, name, window=timedelta(days=3), refit=3) for name in ("normal", "empirical")]
    venue_charts.margins(pl.concat(found), ax)


def _adequacy(_: World, ax: Axes) -> None:
    rows = [
        {"tier": tier, "side": side, "condition": condition, "size": 10.0 ** (4 + tier), "rate": 0.005 * tier,
         "max_leverage": leverage, "time_to_close": timedelta(minutes=10**tier),
         "required_99": 0.01 * tier * extra, "required_99.9": 0.03 * tier * extra}
        for tier, leverage in ((1, 100.0), (2, 20.0), (3, float("inf")))
        for side in ("long", "short")
        for condition, extra in (("every opening", 1.0), ("after liquidation", 1.6))
    ]  # fmt: skip
    venue_charts.margin_table(pl.DataFrame(rows), ax)


def _removed(world: World, ax: Axes) -> None:
    liquidation_charts.removed_paths(without_liquidations.paths(world.prices, world.flow), ax, unit="USDT")


def _survival(world: World, ax: Axes) -> None:
    curves = kaplan_meier(lives(world.outcomes, world.market), by=["leverage"])
    liquidation_charts.survival(curves, ax, by="leverage", label="{:g}x")


def _areas(_: World, ax: Axes) -> None:
    rows = [
        {"indicator": name, "area": area, "area_low": area - 0.05, "area_high": area + 0.04,
         "baseline": "realised volatility", "baseline_area": 0.65, "baseline_area_low": 0.61,
         "baseline_area_high": 0.68, "difference": area - 0.65, "difference_low": area - 0.7,
         "difference_high": area - 0.6, "quantile": 0.95, "horizon": timedelta(hours=1), "confidence": 0.95}
        for name, area in (("funding", 0.48), ("crowding", 0.71), ("liquidation at risk", 0.8))
    ]  # fmt: skip
    areas(pl.DataFrame(rows), ax)


def _cascade(world: World, size: tuple[float, float]) -> Figure:
    return cascade_figures.cascade(world.flow, world.prices, **WORDS, notes=NOTES, size=size, price_unit="USDT")


def _multiples(world: World, size: tuple[float, float]) -> Figure:
    names = ("A", "together, % of the first price")
    panels = [level_charts.Panel(name, world.levels, [world.columns]) for name in names]
    return level_charts.small_multiples(panels, **WORDS, notes=NOTES, size=_sized(size))


def _film(world: World, size: tuple[float, float]) -> Figure:
    moving = level_charts.film(
        world.levels, world.columns, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT", pictures=3
    )
    return moving.draw(len(moving.columns) - 1)


def _cluster_outcomes(world: World, size: tuple[float, float]) -> Figure:
    past = levels.cluster_outcomes(world.clusters, world.outcomes, "A", world.window[1])
    return level_charts.cluster_figure(past, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT")


def _heatmap(world: World, size: tuple[float, float]) -> Figure:
    last = levels.clusters_at(world.levels, world.market, rule=levels.Crowding(times=1.3))
    return level_charts.level_heatmap(
        world.levels, world.columns, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT", clusters=last
    )


def _maps(world: World, size: tuple[float, float]) -> Figure:
    after = levels.level_map(world.outcomes, world.market, "A")
    return level_charts.before_after(world.map, after, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT")


#: Charts of a history and a book.
OF_WORLDS: dict[str, Draw] = {
    "cascade": _cascade,
    "level_heatmap": _heatmap,
    "level_heatmap with totals": lambda world, size: level_charts.level_heatmap(
        world.levels,
        world.columns,
        **WORDS,
        notes=NOTES,
        size=_sized(size),
        price_unit="USDT",
        totals=True,
        clusters=world.clusters if world.columns_of_grid > 1 else None,
        currency=None,
    ),
    "map": lambda world, size: level_charts.map_figure(
        world.map, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT"
    ),
    "before_after": _maps,
    "multiples": _multiples,
    "film": _film,
    "clusters": lambda world, size: level_charts.cluster_figure(
        world.clusters, **WORDS, notes=NOTES, size=_sized(size), price_unit="USDT"
    ),
    "cluster_outcomes": _cluster_outcomes,
    "timeline": _panel(lambda world, ax: liquidation_charts.timeline(_found_cascades(world), ax)),
    "cumulative": _panel(lambda world, ax: liquidation_charts.cumulative(cascades.running_totals(world.flow), ax)),
    "by_hour": _panel(lambda world, ax: liquidation_charts.by_hour(cascades.by_hour_of_day(world.flow), ax)),
    "imbalance": _panel(lambda world, ax: liquidation_charts.imbalance(imbalance.by_interval(world.flow), ax)),
    "removed_paths": _panel(_removed),
    "at_risk": _panel(
        lambda world, ax: liquidation_charts.at_risk(
            liquidation_at_risk.by_move(world.outcomes, world.prices, world.middle), ax
        )
    ),
    "survival": _panel(_survival),
    "fund": lambda world, size: venue_charts.fund_figure(
        world.replayed.fund, fund.fund_flow(world.replayed.fund), world.window, **WORDS, notes=NOTES, size=size
    ),
    "losses": lambda world, size: venue_charts.waterfall_figure(
        fund.who_bore(world.replayed), **WORDS, notes=NOTES, size=size
    ),
    "moved_mark": lambda world, size: venue_charts.moved_mark_figure(
        world.prices, world.replayed.impact, world.window, **WORDS, notes=NOTES, unit="USDT", size=size
    ),
    "account": _panel(_account),
    "alerts": _panel(_alerts),
}

#: Charts whose words do not depend on prices.
OTHERS: dict[str, Draw] = {
    "size_distribution": _panel(_sizes),
    "throttle": _panel(_throttle),
    "surface": _panel(_surface),
    "fit_loss": _panel(_fit_loss),
    "rolling": _panel(_rolling),
    "adequacy": _panel(_adequacy),
    "areas": _panel(_areas),
    "hedges": _panel(lambda _, ax: venue_charts.hedges(_hedge_rows(), ax)),
    "hedges_by_leverage": _panel(lambda _, ax: venue_charts.hedges_by_leverage(_hedge_rows(), ax)),
    "score": lambda _, size: level_charts.score_figure(*_tests(), **WORDS, notes=NOTES, size=_sized(size)),
}
for number, histories in enumerate((("May 2021",), ("May 2021", "March 2020", "October 2025"))):
    OTHERS |= {
        f"frontiers {number}": lambda _, size, histories=histories: venue_charts.policy.frontiers(
            policies(histories), **WORDS, notes=NOTES, **_own_or(size)
        ),
        f"policy multiples {number}": lambda _, size, histories=histories: venue_charts.policy.small_multiples(
            policies(histories), **WORDS, notes=NOTES, **_own_or(size)
        ),
        f"procedures {number}": lambda _, size, histories=histories: venue_charts.procedures.side_by_side(
            _procedures(histories), **WORDS, notes=NOTES, **_own_or(size)
        ),
    }


def cases() -> Iterator[tuple[str, str, str]]:
    """Yield the names of a chart, a world and a size: odd worlds at the small size, the longest prices at both."""
    for size in SIZES:
        worlds = [world for world in WORLDS if world not in ODD] if size == "small" else ["usual", "tiny price"]
        yield from ((chart, world, size) for chart in OF_WORLDS for world in worlds)
        yield from ((chart, "usual", size) for chart in OTHERS)


def drawn(chart: str, world: str, size: str) -> Figure:
    """Return a chart."""
    return {**OF_WORLDS, **OTHERS}[chart](WORLDS[world], SIZES[size])
