"""Inputs of a command from its options: prices, rules, positions."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Any

from backtest import population
from backtest.book import Book
from backtest.book import load as load_book
from backtest.cli.common.options import ESTIMATED as ESTIMATED_OPTIONS
from backtest.cli.common.options import FILES
from backtest.engine.conventions import Conventions
from backtest.errors import ArgumentError
from backtest.market import Market, sample
from backtest.market import load as load_market
from backtest.population import MixBySide, SideMix
from backtest.rules.rule_files import rule_files
from backtest.rules.timeline import RULES, Tiers, of_symbols
from backtest.rules.venue import Venue

#: The default synthetic book.
COUNT, SEED, LEVERAGE_MIX = 1_000_000, 20210519, "mixed"
LEVERAGE_MIXES = {"mixed": population.MIXED, "low": population.LOW, "high": population.HIGH}

#: No table of ETHUSDT is known before this one: the declared substitute for May 2021 on the bundled sample.
SAMPLE_SUBSTITUTES = {"ETHUSDT": "2022-02-16"}


#: Populations estimated from the bars, and the parameter that ``--turnover`` sets there.
ESTIMATED = {"open-interest": "turnover", "volume": "opening_share"}

#: Options of the population of volume alone.
OF_VOLUME = ("mean_holding", "reopening_damping", "bounded")

#: Options of which any means a synthetic book.
OF_SYNTHETIC = ("count", "seed", "leverage_mix")


def read_market(options: Namespace, venue: Venue | None = None) -> Market:
    """Return the prices and funding, restricted to the requested symbols and window.

    Where positions are drawn or estimated, of all symbols those that the ``venue`` lists; the description names
    the others.
    """
    if options.bars is None and options.funding is not None:
        raise ArgumentError("needs bars: the bundled sample has its own", argument="funding")
    if options.bars is None and options.price_venue is not None:
        raise ArgumentError("needs bars: the bundled sample is a reconstruction", argument="price_venue")
    if options.bars is None:
        whole = sample(gap_limit=options.gap_limit)
    else:
        whole = load_market(options.bars, options.funding, gap_limit=options.gap_limit)
        whole.price_venue = options.price_venue or ""
    for symbol in sorted(options.symbol or ()):
        require_symbol("symbol", symbol, whole)
    if venue is None or options.symbol or options.positions is not None:
        return whole.select(options.symbol or None, options.start, options.end)
    listed = [symbol for symbol in whole.symbols if venue.lists(symbol)] or whole.symbols
    market = whole.select(listed, options.start, options.end)
    others = ", ".join(symbol for symbol in whole.symbols if symbol not in listed)
    if others:
        left_out = f"without {others}, which {venue.name} does not list"
        market.description = f"{market.description}; {left_out}" if market.description else left_out
    return market


def read_book(options: Namespace, market: Market, venue: Venue, conventions: Conventions) -> Book:
    """Return the given positions, or a synthetic or estimated book."""
    draw = {name: getattr(options, name, None) for name in ("count", "seed", "leverage_mix")}
    kind = getattr(options, "population", None)
    if options.positions is not None:
        draw["population"] = kind
        for name, value in draw.items():
            if value is not None:
                raise ArgumentError("is for a synthetic book: positions are given already", argument=name)
        refuse_estimated(options)
        return load_book(options.positions, options.adjustments)
    if options.adjustments is not None:
        raise ArgumentError("needs positions: a synthetic book takes none", argument="adjustments")
    if kind in ESTIMATED:
        return estimated_book(options, market, venue, conventions, draw)
    refuse_estimated(options)
    return population.synthetic(
        market,
        venue,
        count=COUNT if draw["count"] is None else draw["count"],
        seed=SEED if draw["seed"] is None else draw["seed"],
        leverage_mix=LEVERAGE_MIXES[draw["leverage_mix"] or LEVERAGE_MIX],
        tiers=conventions.tiers,
    )


def is_synthetic(options: Namespace) -> bool:
    """Whether the book is synthetic, so that amounts are arbitrary: neither given nor estimated from the bars."""
    return options.positions is None and options.population not in ESTIMATED


def choose_population(options: Namespace, market: Market) -> None:
    """Estimate the book from volume where the bars have it and no option asks for another book."""
    asked = (options.positions, options.population, *(getattr(options, name) for name in OF_SYNTHETIC))
    if all(each is None for each in asked) and "volume" in market.bars.columns:
        options.population = "volume"


def refuse_estimated(options: Namespace) -> None:
    """Raise for an option of an estimated book where the book is another."""
    for name in ("turnover", *ESTIMATED_OPTIONS):
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


def read_conventions(options: Namespace, market: Market | None = None) -> Conventions:
    """Return the requested conventions; given the market of a run, with the bundled sample's substitute tables.

    ``--gap-limit`` belongs to the market, which reports its gaps by it.
    """
    names = {field.name for field in fields(Conventions)} - {"tiers", "gap_limit"}
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return Conventions(tiers=read_tiers(options, market), **given)


def read_tiers(options: Namespace, market: Market | None = None) -> Tiers:
    """Return the rule for entries without a table in force, from the words after ``--tiers``."""
    given: list[str] | None = options.tiers
    if not given and market is not None and options.bars is None and options.venue == "binance":
        return of_symbols(SAMPLE_SUBSTITUTES, market.symbols)
    if not given:
        return "strict"
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    substitutes = {}
    for words in given:
        symbol, equals, table = words.partition("=")
        if not (symbol and equals and table):
            raise ArgumentError(
                f"must be one of {', '.join(RULES)}, the name of a table, or SYMBOL=TABLE as often as needed, is "
                f"{' '.join(given)!r}",
                argument="tiers",
            )
        substitutes[symbol] = table
    return substitutes


def input_hashes(options: Namespace) -> dict[str, str]:
    """Return the SHA-256 of each input file by path; of a bundled venue and its tables by name."""
    named = ("bars", "funding", "positions", "adjustments", "recorded", "mix_file", "score_map", *FILES)
    read = (getattr(options, name, None) for name in named)
    files = {str(path): Path(path) for path in read if path is not None}
    return hashes_of(files | rule_files(options.venue))


def hashes_of(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of files by name."""
    hashes = {}
    for name, path in files.items():
        with path.open("rb") as file:
            hashes[name] = file_digest(file, "sha256").hexdigest()
    return hashes


def require_symbol(argument: str, symbol: str, market: Market) -> None:
    """Raise unless the bars hold the symbol of an argument."""
    if symbol not in market.symbols:
        sentence = f"{symbol} is not in the bars, which hold {', '.join(market.symbols)}"
        raise ArgumentError(sentence, argument=argument)
