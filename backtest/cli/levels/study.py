"""Results of ``backtest levels`` before drawing: levels, map and clusters of one book."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from backtest import population
from backtest.amounts import days, plain
from backtest.cli.common.inputs import COUNT, LEVERAGE_MIX, SEED
from backtest.cli.common.swept import Swept
from backtest.engine.conventions import Conventions
from backtest.engine.sweep.level_drift import level_pieces, levels_move
from backtest.errors import ArgumentError, DataError
from backtest.market import Market
from backtest.market.files import read_frame
from backtest.schemas.symbols import of_symbol
from backtest.study.levels.cluster_tracks import Tracks, track
from backtest.study.levels.clusters import Crowding, clusters_at
from backtest.study.levels.combine import levels_by_leverage
from backtest.study.levels.evaluation.given_maps import given_heatmap
from backtest.study.levels.evaluation.labels import EVENTS, MapLabels, hidden_events, recorded_events
from backtest.study.levels.evaluation.magnet_test import conclusive, magnet
from backtest.study.levels.evaluation.scores import score
from backtest.study.levels.grid import LevelGrid, column_bars, level_grid, moment_of
from backtest.study.levels.level_maps import LevelMap, level_map, mark_at
from backtest.study.levels.levels import Levels, levels
from backtest.study.levels.past_clusters import cluster_outcomes
from backtest.study.levels.screening import screen
from backtest.study.liquidations.grouping import leverage
from backtest.trades.recorded_liquidations import read_liquidations

#: Leverage mix of the hidden truth: another mix and seed, held longer.
HIDDEN_MIX = {"mixed": "low", "low": "mixed", "high": "mixed"}
HIDDEN_HOLDING = timedelta(hours=24)

#: Draws of the bands; blocks are days.
DRAWS = 499


@dataclass(frozen=True, eq=False)
class LevelStudy:
    """One symbol of a swept book, with the options of its view."""

    options: Namespace
    swept: Swept  #: without funding unless it moves the levels
    conventions: Conventions
    symbol: str

    @property
    def money(self) -> str | None:
        """The currency of amounts on charts; None: shares, as the book is estimated or synthetic."""
        return self.swept.currency if self.options.positions is not None else None

    @cached_property
    def recorded(self) -> pl.DataFrame | None:
        """The recorded liquidations of the symbol; None where none are given."""
        path = self.options.recorded
        if path is None:
            return None
        frame = recorded_liquidations(path)
        return of_symbol(frame, self.symbol, "events")[0] if "symbol" in frame.columns else frame

    @cached_property
    def moment(self) -> datetime:
        """The end of the last bar by ``--at``."""
        return mark_at(self.swept.market, self.symbol, self.options.at)[0]

    @cached_property
    def past(self) -> Market:
        """The bars that have ended at this moment."""
        return self.swept.market.select(end=self.moment).without_funding()

    @cached_property
    def since(self) -> datetime:
        """The end of the last column by ``--since``."""
        return moment_of(int(self.grid.ends[self.grid.column_at(self.options.since)]))

    @cached_property
    def window(self) -> tuple[datetime, datetime]:
        """First and last moment of the heatmap, within the bars."""
        own = self.swept.market.bars.filter(pl.col("symbol") == self.symbol)
        first: datetime = own["time"][0]
        asked = self.options.window
        return first if asked is None else max(first, self.moment - asked), self.moment

    @property
    def span(self) -> str:
        """The days of the heatmap in words."""
        start, end = self.window
        return days(start, end - timedelta(milliseconds=1))

    @cached_property
    def grid(self) -> LevelGrid:
        """The cells of the heatmap."""
        options = self.options
        by_ratio = None if options.price_scale is None else options.price_scale == "log"
        return level_grid(
            self.swept.market, self.symbol, window=self.window, bins=options.bins, columns=options.columns,
            logarithmic=by_ratio,
        )  # fmt: skip

    @cached_property
    def _book(self) -> dict[str, Any]:
        """Decay and moves of the book's levels."""
        swept, grid = self.swept, self.grid
        pieces = None
        prices = swept.market if self.options.drift else swept.market.without_funding()
        if self.options.drift or levels_move(swept.book, prices, swept.venue, self.conventions):
            pieces = level_pieces(
                swept.book, swept.outcomes, prices, swept.venue, grid.price_edges, logarithmic=grid.logarithmic,
                conventions=self.conventions,
            )  # fmt: skip
        if pieces is not None and self._kept is not None:
            pieces = pieces.filter(self._kept.gather(pieces["row"]))
        return {"survival": swept.book.survival, "pieces": pieces}

    @cached_property
    def _kept(self) -> pl.Series | None:
        """Which positions are of the side and leverage asked for; None: all."""
        side, (low, high) = self.options.side, self.options.leverage or (0.0, math.inf)
        if side is None and self.options.leverage is None:
            return None
        outcomes = self.swept.outcomes
        of_side = pl.lit(True) if side is None else pl.col("side").cast(pl.String) == side
        used = leverage(outcomes)
        return outcomes.select(of_side & (used >= low) & (used < high)).to_series().fill_null(False)

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """The outcomes of the positions that are shown; all of them where pieces of moving levels say which."""
        if self._kept is None or self._book["pieces"] is not None:
            return self.swept.outcomes
        return self.swept.outcomes.filter(self._kept)

    @property
    def part(self) -> str:
        """Which part of the book is shown, in words; nothing for all of it."""
        side, span = self.options.side, self.options.leverage
        words = [] if side is None else [f"{side}s alone"]
        if span is not None:
            low, high = (f"{plain(end)}x" for end in span)
            words.append(f"leverage {low} and more" if span[1] == math.inf else f"leverage {low} to below {high}")
        return ", ".join(words)

    @cached_property
    def levels(self) -> Levels:
        """The heatmap."""
        swept = self.swept
        return levels(
            self.outcomes, self.grid, half_life=self.options.half_life, unit=swept.unit, book=swept.book,
            assumptions=swept.book.assumptions, **self._book,
        )  # fmt: skip

    @cached_property
    def groups(self) -> dict[str, Levels]:
        """The heatmap by groups of leverage."""
        terms = {"half_life": self.options.half_life, "unit": self.swept.unit, **self._book}
        return levels_by_leverage(self.outcomes, self.grid, **terms)

    @cached_property
    def bars(self) -> pl.DataFrame:
        """The mark price by the columns of the heatmap."""
        return column_bars(self.swept.market, self.levels.grid)

    @cached_property
    def map(self) -> LevelMap:
        """The open levels around the price."""
        swept = self.swept
        return level_map(
            self.outcomes, swept.market, self.symbol, self.options.at, reach=self.options.reach,
            unit=swept.unit, **self._book,
        )  # fmt: skip

    @property
    def rule(self) -> Crowding:
        """The rule of a cluster, as far around the price as the map reaches."""
        return Crowding(reach=self.options.reach)

    @property
    def reach(self) -> str:
        """How far around the price map and clusters reach, in words."""
        return f"within {plain(100 * self.options.reach, 4)} % of the price"

    @cached_property
    def clusters(self) -> pl.DataFrame:
        """The clusters at the end of the heatmap."""
        return self._clusters_at(None)

    @cached_property
    def cluster_outcomes(self) -> pl.DataFrame:
        """The clusters of ``--since`` and their outcome."""
        found = self._clusters_at(self.since)
        return cluster_outcomes(found, self.outcomes, self.symbol, self.moment, **self._book)

    @cached_property
    def screener(self) -> pl.DataFrame:
        """The largest clusters near the price of every symbol."""
        symbols = [symbol for symbol in self.swept.market.symbols if self._has_begun(symbol)]
        others = {symbol: LevelStudy(self.options, self.swept, self.conventions, symbol) for symbol in symbols}
        return screen([(self if name == self.symbol else own).levels for name, own in others.items()], self.past)

    def _has_begun(self, symbol: str) -> bool:
        """Return whether a bar of a symbol has ended by ``--at``."""
        try:
            mark_at(self.swept.market, symbol, self.options.at)
        except ArgumentError:
            return False
        return True

    @cached_property
    def tracks(self) -> Tracks:
        """The clusters through time."""
        return track(self.levels, self.swept.market, rule=self.rule)

    @cached_property
    def magnet(self) -> pl.DataFrame | None:
        """The magnet test; None where the window is too short for one."""
        try:
            return magnet(self.levels, self.past, seed=self._seed, rule=self.rule, draws=DRAWS)
        except (ArgumentError, DataError):
            return None

    @cached_property
    def reliable_magnet(self) -> pl.DataFrame | None:
        """Its comparisons with enough pairs and days; None without any."""
        found = None if self.magnet is None else conclusive(self.magnet)
        return None if found is None or found.is_empty() else found

    @cached_property
    def score(self) -> pl.DataFrame:
        """The score of the heatmap."""
        return score(self.levels, self.past, self._labels, seed=self._seed, draws=DRAWS)

    @cached_property
    def given_score(self) -> pl.DataFrame:
        """The score of the map of ``--score-map``, over its own columns."""
        path = self.options.score_map
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "nested too deep"
            raise DataError(f"{path} is not a JSON file of a heatmap: {reason}") from None
        if not isinstance(document, dict):
            raise DataError(f"{path} is not a JSON file of a heatmap: it holds no object")
        given = given_heatmap(document, symbol=self.symbol, source=str(path))
        return score(given, self.past, self._labels, seed=self._seed, draws=DRAWS)

    @property
    def is_scored(self) -> bool:
        """Whether there is something to score the heatmap against."""
        return self.options.recorded is not None or self.options.hidden_truth

    @property
    def _seed(self) -> int:
        return SEED if self.options.seed is None else int(self.options.seed)

    def _clusters_at(self, moment: datetime | None) -> pl.DataFrame:
        swept = self.swept
        return clusters_at(self.levels, swept.market, moment, rule=self.rule, outcomes=self.outcomes, **self._book)

    @cached_property
    def _labels(self) -> MapLabels:
        path = self.options.recorded
        if path is not None:
            return recorded_events(recorded_liquidations(path), source=path.name, symbol=self.symbol)
        mix = HIDDEN_MIX[self.options.leverage_mix or LEVERAGE_MIX]
        swept = self.swept
        truth = population.synthetic(
            swept.market, swept.venue, count=self.options.count or COUNT, seed=self._seed + 1,
            tiers=self.conventions.tiers, leverage_mix={"low": population.LOW, "mixed": population.MIXED}[mix],
            median_holding=HIDDEN_HOLDING,
        )  # fmt: skip
        return hidden_events(truth, swept.market, swept.venue, self.symbol, conventions=self.conventions)


def recorded_liquidations(path: Path) -> pl.DataFrame:
    """Return recorded liquidations: a table, or messages and fills as venues write them."""
    if path.suffix in (".json", ".jsonl", ".ndjson"):
        return read_liquidations(path)
    return read_frame(path, EVENTS)
