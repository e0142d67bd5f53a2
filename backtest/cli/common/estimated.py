"""Estimated books from options: which population is the default, its shares, times and leverage mixes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from backtest import population
from backtest.book import Book
from backtest.cli.common import options as known
from backtest.engine.conventions import Conventions
from backtest.errors import ArgumentError
from backtest.market import Market
from backtest.population import MixBySide, SideMix
from backtest.rules.venue import Venue

#: Populations estimated from the bars, and the parameter that ``--turnover`` sets there.
ESTIMATED = {"open-interest": "turnover", "volume": "opening_share"}

#: Options of the population of volume alone.
OF_VOLUME = ("mean_holding", "reopening_damping", "bounded")

#: Options of which any means a synthetic book.
OF_SYNTHETIC = ("count", "seed", "leverage_mix")


def choose_population(options: Namespace, market: Market) -> None:
    """Estimate the book from volume where the bars have it and no option asks for another book."""
    asked = (options.positions, options.population, *(getattr(options, name) for name in OF_SYNTHETIC))
    if all(each is None for each in asked) and "volume" in market.bars.columns:
        options.population = "volume"


def refuse_estimated(options: Namespace) -> None:
    """Raise for an option of an estimated book where the book is another."""
    for name in ("turnover", *known.ESTIMATED):
        if getattr(options, name, None) is not None:
            raise ArgumentError("is for a population of open-interest or volume", argument=name)


def estimated_book(
    options: Namespace, market: Market, venue: Venue, conventions: Conventions, draw: Mapping[str, Any]
) -> Book:
    """Return the book estimated from the bars' open interest or volume.

    Raises
    ------
    ArgumentError
        For options of a synthetic book, and of the other population.
    """
    for name, value in draw.items():
        if value is not None:
            raise ArgumentError("is for a synthetic population", argument=name)
    settings: dict[str, Any] = (
        {} if options.turnover is None else {ESTIMATED[options.population]: options.turnover}
    )
    of_volume = {name: getattr(options, name) for name in OF_VOLUME if getattr(options, name) is not None}
    if options.population != "volume" and of_volume:
        raise ArgumentError("is for a population of volume", argument=next(iter(of_volume)))
    hours = {name: timedelta(hours=value) for name, value in of_volume.items() if name != "bounded"}
    settings |= {**of_volume, **hours}
    mix = _mix(options)
    settings |= {} if mix is None else {"leverage_mix": mix}
    estimate = population.from_volume if options.population == "volume" else population.from_open_interest
    return estimate(
        market,
        venue,
        trigger_price=conventions.trigger_price,
        tiers=conventions.tiers,
        threads=options.threads,
        **settings,
    ).book


def _mix(options: Namespace) -> MixBySide | None:
    """Return the leverage mix by side of the options; None without any."""
    given = {side: getattr(options, f"{side}_leverage") for side in ("long", "short")}
    asked = [f"{side}_leverage" for side, value in given.items() if value is not None]
    if options.mix_file is not None:
        if asked:
            raise ArgumentError("is given by the mix file already", argument=asked[0])
        return population.load_mix(options.mix_file)
    if not asked:
        return None
    if len(asked) == 1:
        other = "short" if asked == ["long_leverage"] else "long"
        raise ArgumentError(f"needs --{other}-leverage beside it: both sides or neither", argument=asked[0])
    mixes = {}
    for side, (typical, spread) in given.items():
        try:
            mixes[side] = SideMix(typical, spread)
        except ArgumentError as error:
            raise ArgumentError(f"{error.argument} {error.sentence}", argument=f"{side}_leverage") from None
    return MixBySide.of(mixes["long"], mixes["short"])
