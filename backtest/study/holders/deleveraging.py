"""ADL queue before anything happens: the place of each holder, and its fifth as the lights that venues show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from backtest.book import Book
from backtest.errors import ArgumentError
from backtest.kernel.types import Floats, Integers
from backtest.rules import margin as margins
from backtest.rules.contract import Contract
from backtest.rules.timeline import Tiers, by_symbol, not_in_force, of_symbols, timeline
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.schemas.validation import offence

#: Lights of the first fifth of a queue.
LIGHTS = 5

#: Ranks without a queue that holders could know: all give in proportion, or by lot.
UNRANKED = ("pro_rata", "random")


@checked
def adl_queue(book: Book, venue: Venue, prices: Mapping[str, float], *, tiers: Tiers = "strict") -> pl.DataFrame:
    """Return the place of each position in the queue of auto-deleveraging at given mark prices.

    A queue holds the positions of one symbol and side that ADL could choose: with equity and, where the venue's
    ``adl_profit_required`` says so, in profit. The score of ``adl_rank`` orders it, ties by id, as in a replay. A
    position counts as often as its weight. Funding is not counted.

    Parameters
    ----------
    book
        Open positions, or a frame of them.
    venue
        A venue, its name, or the path of its file.
    prices : quote per base, by symbol
        Mark prices.
    tiers
        Tables of positions entered when none was in force: as in :func:`~backtest.sweep`.

    Returns
    -------
    A row a position: its columns, and ``equity``, ``adl_score``, ``adl_place`` (1: the first to be hit) and
    ``adl_lights`` (5: the first fifth of the queue, 1: the last, 0: in no queue). Score and place are null in no
    queue; score, place and lights where the venue hits all in proportion or draws lots.

    Raises
    ------
    ArgumentError
        For a symbol without a price, or a price that is not above zero.
    TiersError
        For positions entered when no table was in force.

    Examples
    --------
    >>> from backtest.study import holders
    >>> found = holders.adl_queue(book, venue, {"BTCUSDT": 38_000})
    >>> found.group_by("side", "adl_lights").len().sort("side", "adl_lights").filter(side="short").rows()
    [('short', 0, 108), ('short', 1, 75), ('short', 2, 76), ('short', 3, 75), ('short', 4, 76), ('short', 5, 76)]
    """
    frame = book.positions.with_row_index("_row")
    for symbol in book.symbols:
        if symbol not in prices:
            raise ArgumentError(f"must hold every symbol of the book: {symbol} is missing", argument="prices")
        if not 0 < prices[symbol] < np.inf:
            raise ArgumentError(f"of {symbol} must be above zero, is {prices[symbol]!r}", argument="prices")
    contracts = venue.contracts_of(book.symbols)
    tiers = of_symbols(by_symbol(tiers, contracts), book.symbols)
    parts = [_ranked(frame.filter(symbol=own.symbol), venue, own, prices[own.symbol], tiers) for own in contracts]
    return pl.concat(parts).sort("_row").drop("_row")


def _ranked(frame: pl.DataFrame, venue: Venue, contract: Contract, price: float, tiers: Tiers) -> pl.DataFrame:
    """Return the positions of one symbol with their places."""
    side = np.where(frame["side"].cast(pl.String) == "long", 1.0, -1.0)
    equity, score = _scores(frame, venue, contract, side, price, tiers)
    weight = frame["weight"].to_numpy() if "weight" in frame.columns else np.ones(frame.height)
    place, lights = np.zeros(frame.height, np.int64), np.zeros(frame.height, np.int64)
    for sign in (1.0, -1.0):
        rows = np.flatnonzero((side == sign) & np.isfinite(score))
        by_id = frame["position_id"].gather(rows).rank("ordinal").to_numpy()
        rows = rows[np.lexsort((by_id, -score[rows]))]
        ahead = np.cumsum(weight[rows]) - weight[rows]
        place[rows] = np.arange(1, rows.size + 1)
        lights[rows] = LIGHTS - np.minimum(np.floor(LIGHTS * ahead / max(weight[rows].sum(), 1e-300)), LIGHTS - 1)
    queued, unranked = np.isfinite(score), venue.procedure.adl_rank in UNRANKED
    known = pl.Series(queued & (not unranked))
    return frame.with_columns(
        equity=pl.Series(equity),
        adl_score=pl.when(known).then(pl.Series(score)),
        adl_place=pl.when(known).then(pl.Series(place)),
        adl_lights=pl.lit(None, pl.Int64) if unranked else pl.Series(lights),
    )


def _scores(
    frame: pl.DataFrame, venue: Venue, contract: Contract, side: Floats, price: float, tiers: Tiers
) -> tuple[Floats, Floats]:
    """Return equities, and the scores of ADL; minus infinity where a position cannot be chosen."""
    quantity, entry = frame["quantity"].to_numpy(), frame["entry_price"].to_numpy()
    entry_notional = margins.notional(contract, quantity=quantity, price=entry)
    notional = margins.notional(contract, quantity=quantity, price=price)
    margin = _margins(frame, contract, side)
    held = {"side": side, "quantity": quantity, "entry_price": entry, "margin": margin}
    equity = margins.equity(contract, price=price, **held)
    profit = equity - margin
    leverage, share = notional / np.where(equity > 0, equity, np.nan), profit / entry_notional
    rank = venue.procedure.adl_rank
    if rank in UNRANKED:
        score = np.zeros(side.size)
    elif rank == "binance":
        needed = _maintenance(frame, contract, held, price, tiers)
        score = np.maximum(0.0, profit) / np.maximum(1.0, margin) * needed / np.where(equity > 0, equity, np.nan)
    else:
        score = {
            "profit_leverage": share * leverage,
            "bitmex": np.where(share >= 0, share * leverage, share / leverage),
            "size": notional,
            "top_ten": notional,
            "water_filling": leverage,
        }[rank]
    out = (equity <= 0) | ((profit <= 0) if venue.procedure.adl_profit_required else False)
    return equity, np.where(out, -np.inf, score)


def _margins(frame: pl.DataFrame, contract: Contract, side: Floats) -> Floats:
    """Return margins as given, else those of the leverage."""
    given = frame["margin"].to_numpy() if "margin" in frame.columns else np.full(frame.height, np.nan)
    lacking = np.isnan(given)
    if lacking.any():
        leverage = frame["leverage"].to_numpy()[lacking]
        opened = {name: frame[name].to_numpy()[lacking] for name in ("quantity", "entry_price")}
        given = given.copy()
        given[lacking] = margins.initial_margin(contract, side=side[lacking], leverage=leverage, **opened)
    return given


def _maintenance(
    frame: pl.DataFrame, contract: Contract, held: Mapping[str, Floats], price: float, tiers: Tiers
) -> Floats:
    """Return maintenance margins, each by the table of its entry."""
    found, times = timeline(contract, tiers), frame["entry_time"].to_physical().to_numpy()
    number: Integers = np.searchsorted(found.starts, times, side="right") - 1
    unknown = np.array([table is None for table in found.tables])[number]
    if unknown.any():
        sentence = "margin tiers must be in force at the entry"
        broken = offence(frame, "positions", sentence, pl.lit(pl.Series(unknown)), ("entry_time",))
        raise not_in_force(broken, contract, int(times[np.argmax(unknown)]))
    leverage = frame["leverage"].fill_null(np.nan).to_numpy() if "leverage" in frame.columns else None
    needed = np.zeros(frame.height)
    for table_number in np.unique(number):
        table, rows = found.tables[table_number], number == table_number
        assert table is not None  # refused above
        own = {name: values[rows] for name, values in held.items()}
        selected = None
        if not table.by_size and leverage is not None:
            implied = (
                margins.notional(contract, quantity=own["quantity"], price=own["entry_price"]) / own["margin"]
            )
            selected = np.where(np.isnan(leverage[rows]), implied, leverage[rows])
        needed[rows] = margins.maintenance_margin(contract, table, price=price, leverage=selected, **own)
    return needed
