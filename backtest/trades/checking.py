"""Check of trades: would each have been liquidated, where, at which leverage, and what would have held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import polars as pl

from backtest.engine.conventions import USUAL, Changes, Conventions
from backtest.errors import ArgumentError
from backtest.market.market import Market
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.shown import shown
from backtest.trades.account.cross import Account, cross_sentences
from backtest.trades.book import Keep, sized
from backtest.trades.finer_bars import Questions
from backtest.trades.on_venue import OnVenue
from backtest.trades.placement import Placed, placed
from backtest.trades.reader import Trades
from backtest.trades.verdict import counts, recorded, sentences, substituted


@dataclass(frozen=True, eq=False)
@shown("sentence", "counts", "notes")
class Check:
    """What would have become of trades; see :func:`check` for the columns."""

    rows: pl.DataFrame  #: a row a trade, venue and leverage
    counts: pl.DataFrame  #: a row a venue and leverage (null: the list's own)
    sentence: str
    left_out: pl.DataFrame  #: ``price_venue, trade_id, symbol, reason``
    notes: tuple[str, ...]
    #: ``price_venue, symbol, start, end, trades``: windows whose finer bars would decide what bars leave open
    windows: pl.DataFrame

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>{self.counts._repr_html_()}"


@checked
def check(
    trades: Trades,
    market: Market | Mapping[str, Market],
    *,
    venues: Sequence[Venue],
    leverages: Sequence[float] | None = None,
    keep: Keep = "size",
    fees: float | None = None,
    finer: Market | Mapping[str, Market] | None = None,
    wallet: float | pl.DataFrame | None = None,
    sequential: bool = False,
    conventions: Conventions = USUAL,
    threads: int | None = None,
    **changes: Unpack[Changes],
) -> Check:
    """Return for each trade, venue and leverage whether it is liquidated, how near it came, and what would hold.

    Parameters
    ----------
    trades
        As :func:`read` returns them.
    market
        Prices and funding for every venue, or a market for each by the venue's name.
    venues
        Rules to check under, names or :class:`~backtest.Venue`.
    leverages
        To check at; None: each trade's own.
    keep
        What another leverage leaves as it was: the size (less margin), or the stake (more quantity).
    fees
        Fee of each fill as a fraction of its notional; None: the fees of the list, or none.
    finer
        Finer bars of the same prices, whole or of the windows that a check returns: where the inside of a bar
        decides, they do. Or such bars for each venue by its name.
    wallet
        Of one account that holds all trades in cross margin, an amount or its history (``time, wallet_change``;
        the first is what it begins with), checked beside isolated margin. None: isolated margin only.
    sequential
        Whether trades whose initial margin is not in the wallet when they begin are ``unfunded``, and the account
        goes on with what is left after a liquidation. Else all are opened, up to the first liquidation.
    conventions, threads, **changes
        As of :func:`~backtest.sweep`.

    Returns
    -------
    Check
        Its ``rows``: ``trade_id, symbol, side, venue, price_venue, leverage, margin, quantity, entry_time,
        entry_price, exit_time, exit_price, outcome, certainly_liquidated, possibly_liquidated, outcome_time,
        outcome_until, possible_time, liquidation_price, peak_margin_ratio, closest_distance_percent,
        closest_distance_days, closest_time, margin_that_holds, highest_surviving_leverage, limited_by,
        realised_pnl, logged_pnl, pnl_difference, recorded, liquidated_later, stop_comes_first, tier_source``;
        with a wallet ``cross_outcome, cross_outcome_time, cross_realised_pnl``.
        ``docs/my_trades.md`` says what each means.

    Raises
    ------
    ArgumentError
        Where a leverage is not known, or an option is not possible.
    DataError
        Where the prices cover none of the trades, or are not those of the list.

    Examples
    --------
    >>> from backtest import trades
    >>> mine = {"symbol": "BTC/USDT:USDT", "side": ["long"], "entry_time": [noon], "entry_price": [38_714.0],
    ...         "quantity": [0.5], "exit_time": [noon + timedelta(hours=3)], "exit_price": [36_000.0]}
    >>> found = trades.check(trades.read(mine), market, venues=["binance"], leverages=[2, 10])
    >>> found.rows.select("leverage", "outcome", "highest_surviving_leverage")
    shape: (2, 3)
    ┌──────────┬────────────┬────────────────────────────┐
    │ leverage ┆ outcome    ┆ highest_surviving_leverage │
    │ ---      ┆ ---        ┆ ---                        │
    │ f64      ┆ enum       ┆ f64                        │
    ╞══════════╪════════════╪════════════════════════════╡
    │ 2.0      ┆ exited     ┆ 4.176605                   │
    │ 10.0     ┆ liquidated ┆ 4.176605                   │
    └──────────┴────────────┴────────────────────────────┘
    """
    conventions = conventions.with_(**changes)
    account = Account.of(wallet, sequential=sequential)
    stages = Stages(trades, market, venues, leverages, keep, fees, conventions, threads, finer, account)
    rows = pl.concat(list(stages.parts()))
    said = " ".join(stages.sentences)
    return Check(rows, stages.counts, said, stages.left_out, stages.notes, stages.windows)


class Stages:
    """A check, one venue and leverage after another."""

    def __init__(
        self,
        trades: Trades,
        market: Market | Mapping[str, Market],
        venues: Sequence[Venue],
        leverages: Sequence[float] | None,
        keep: Keep,
        fees: float | None,
        conventions: Conventions,
        threads: int | None,
        finer: Market | Mapping[str, Market] | None = None,
        account: Account | None = None,
    ) -> None:
        if not venues:
            raise ArgumentError("must name at least one venue", argument="venues")
        names = [venue.name for venue in venues]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ArgumentError(f"must be different, {twice[0]} is there twice", argument="venues")
        self.log, self.venues, self.keep, self.fees = trades, venues, keep, fees
        self.leverages: list[float | None] = [None] if leverages is None else [float(one) for one in leverages]
        if not self.leverages or not all(one is None or 0 < one < 1e6 for one in self.leverages):
            raise ArgumentError(f"must be numbers above zero, are {leverages!r}", argument="leverages")
        for leverage in self.leverages:
            sized(trades.trades, leverage, keep)  # refuses at once what a later leverage would refuse
        self.conventions, self.threads = conventions, threads
        self.account = account
        self._counted: list[pl.DataFrame] = []
        self.markets = {name: _market_of(market, name) for name in names}
        found = {id(one): placed(trades, one) for one in {id(one): one for one in self.markets.values()}.values()}
        self.placed = {name: found[id(one)] for name, one in self.markets.items()}
        self.refine(finer)

    def refine(self, finer: Market | Mapping[str, Market] | None) -> None:
        """Set the bars that decide what the market's leave open."""
        self.questions = {
            name: Questions(
                self.placed[name],
                market,
                finer.get(name) if isinstance(finer, Mapping) else finer,
            )
            for name, market in self.markets.items()
        }

    @property
    def windows(self) -> pl.DataFrame:
        """Windows whose finer bars would decide: ``price_venue, symbol, start, end, trades``."""
        parts = [own.windows.with_columns(price_venue=pl.lit(name)) for name, own in self.questions.items()]
        return pl.concat(parts).select("price_venue", "symbol", "start", "end", "trades")

    @property
    def left_out(self) -> pl.DataFrame:
        """Trades that the prices do not cover."""
        parts = [place.left_out.with_columns(price_venue=pl.lit(name)) for name, place in self.placed.items()]
        return pl.concat(parts).select("price_venue", "trade_id", "symbol", "reason")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the trades, each sentence once."""
        given = dict.fromkeys(note for place in self.placed.values() for note in place.notes)
        made = (*substituted(self.counts), *recorded(self.counts)) if self._counted else ()
        hidden = (f"{name}: {own.sentence}" for name, own in self.questions.items() if own.sentence)
        return (*given, *made, *hidden)

    def on(self, name: str, placed: Placed | None = None, market: Market | None = None) -> OnVenue:
        """Return the trades on one of the venues; or some of them, on other bars."""
        venue = next(venue for venue in self.venues if venue.name == name)
        return OnVenue(
            self.log,
            placed or self.placed[name],
            market or self.markets[name],
            venue,
            self.conventions if market is None else self.conventions.with_(gap_limit=None),
            self.keep,
            self.fees,
            self.threads,
        )

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of each venue and leverage, and count them."""
        self._counted.clear()
        for venue in self.venues:
            there = self.on(venue.name)
            for leverage in self.leverages:
                rows = self._decided(there, leverage)
                totals = counts(rows, venue.name, leverage)
                if self.account is not None:
                    own = self.account.follow(there, rows, leverage)
                    rows, totals = own.columns(), totals.with_columns(**own.counts())
                self._counted.append(totals)
                yield rows

    def _decided(self, there: OnVenue, leverage: float | None) -> pl.DataFrame:
        name = there.venue.name

        def on_finer_bars(placed: Placed, market: Market) -> pl.DataFrame:
            finer = self.on(name, placed, market)
            finer.volatility = there.volatility
            return finer.rows(leverage)

        return self.questions[name].decided(there.rows(leverage), on_finer_bars)

    @property
    def counts(self) -> pl.DataFrame:
        """The counts of the rows that were made."""
        return pl.concat(self._counted)

    @property
    def sentences(self) -> list[str]:
        """The answer in a sentence a venue."""
        titles = {venue.name: venue.title for venue in self.venues}
        said = sentences(self.counts, self.keep, titles)
        return said if self.account is None else [*said, *cross_sentences(self.counts, titles)]


def _market_of(market: Market | Mapping[str, Market], name: str) -> Market:
    if isinstance(market, Market):
        return market
    if name not in market:
        raise ArgumentError(f"has no prices for {name}: there are {', '.join(market)}", argument="market")
    return market[name]
