"""Loading a market: from files of your own, or from a venue's archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import overload

from backtest.errors import ArgumentError
from backtest.market.files import read_frame
from backtest.market.market import GAP_LIMIT, Market
from backtest.market.reconstructed.reconstruction import SEED, describe, reconstruct
from backtest.market.sources import VENUES, history, plan
from backtest.market.sources.fetcher import Settings
from backtest.market.sources.folder import data_folder
from backtest.schemas.arguments import checked
from backtest.schemas.frames import BARS, FUNDING


@overload
def load(
    bars: str | Path,
    funding: str | Path | None = None,
    *,
    gap_limit: timedelta | None = GAP_LIMIT,
    description: str | None = None,
) -> Market: ...


@overload
def load(
    venue: str,
    symbols: str | Sequence[str],
    start: plan.Moment,
    end: plan.Moment,
    /,
    *,
    interval: str | None = None,
    price: str | None = None,
    also: Sequence[str] | None = None,
    folder: str | Path | None = None,
    offline: bool = False,
    with_recent: bool = False,
    hosts: Mapping[str, str] | None = None,
    gap_limit: timedelta | None = GAP_LIMIT,
    description: str | None = None,
) -> Market: ...


@checked
def load(
    bars: str | Path,
    funding: str | Path | Sequence[str] | None = None,
    start: plan.Moment | None = None,
    end: plan.Moment | None = None,
    *,
    interval: str | None = None,
    price: str | None = None,
    also: Sequence[str] | None = None,
    folder: str | Path | None = None,
    offline: bool = False,
    with_recent: bool = False,
    hosts: Mapping[str, str] | None = None,
    gap_limit: timedelta | None = GAP_LIMIT,
    description: str | None = None,
) -> Market:
    """Return a market from files, or from a venue's archive where a span is given.

    ``load("bars.parquet", "funding.parquet")`` reads Parquet or CSV files in the schemas of :class:`Market`.
    ``load("binance", "BTCUSDT", "2021-05-10", "2021-05-26")`` takes 1-minute mark prices with last prices, volume
    and funding from the disk, and fetches what is missing first.

    Parameters
    ----------
    bars, funding
        Two files; or a venue of ``sources.VENUES``, and one symbol or several.
    start, end
        Span in UTC; the end is excluded. With a span, ``bars`` is a venue; without, a file.
    interval
        Of the bars (1m).
    price
        The price that triggers liquidations: ``mark`` (default), or ``last``, ``index`` or ``spot`` as a
        substitute for it, which the description mentions.
    also
        Data to join: ``last`` and ``funding`` (default, where the venue has them), ``index``, ``spot`` (volume),
        ``open_interest`` (base).
    folder
        Where fetched data are kept, instead of ``sources.data_folder()``.
    offline
        Whether to use data on the disk only.
    with_recent
        Whether to fill the last days from the venue's public interface.
    hosts
        Mirrors, by name as in ``sources.HOSTS``.
    gap_limit, description
        As of :class:`Market`.

    Raises
    ------
    ArgumentError
        For a venue without a span, a span without its end, and options of the other form.
    DataError
        For files that are absent or damaged, and for contents :class:`Market` refuses.
    FetchError
        Where data are missing and cannot be fetched.

    Examples
    --------
    >>> from backtest.market import load
    >>> load(folder / "bars.parquet")
    Market(BTCUSDT: 408 bars, 2021-05-10 to 2021-05-26)
    >>> load("binance", "BTCUSDT", "2021-05-10", "2021-05-26")  # doctest: +SKIP
    Market(BTCUSDT: 23,040 bars, 2021-05-10 to 2021-05-25)
    """
    options = (interval, price, also, folder, hosts, offline or None, with_recent or None)
    if start is None and end is None:
        _require_files(bars, options)
        if not (funding is None or isinstance(funding, str | Path)):
            raise ArgumentError(f"must be a file, is {type(funding).__name__}", argument="funding")
        return Market(
            read_frame(bars, BARS),
            None if funding is None else read_frame(funding, FUNDING),
            gap_limit=gap_limit,
            description=Path(bars).name if description is None else description,
        )
    if start is None or end is None:
        raise ArgumentError(f"{'start' if start is None else 'end'} must be given too: a span needs both")
    if funding is None or isinstance(funding, Path):
        raise ArgumentError(f"must be text like BTCUSDT or a list of it, is {funding!r}", argument="symbols")
    wanted = history.History(
        venue=str(bars),
        symbols=(funding,) if isinstance(funding, str) else tuple(funding),
        span=plan.span(start, end),
        interval=interval or "1m",
        price=price or "mark",
        also=None if also is None else tuple(also),
    )
    settings = Settings(
        folder=data_folder() if folder is None else Path(folder),
        hosts=hosts or {},
        offline=offline,
        with_recent=with_recent,
    )
    return history.load(wanted, settings, gap_limit=gap_limit, description=description)


def _require_files(bars: str | Path, options: Sequence[object]) -> None:
    """Raise where a venue or its options are given without a span."""
    if str(bars) in VENUES and not Path(bars).exists():
        raise ArgumentError(f"start and end must be given to load from {bars}; there is no file of that name")
    if any(option is not None for option in options):
        raise ArgumentError(
            "interval, price, also, folder, offline, with_recent and hosts are for a venue's archive: give start "
            "and end"
        )


@checked
def sample(seed: int = SEED, *, gap_limit: timedelta | None = GAP_LIMIT) -> Market:
    """Return the bundled sample: BTC and ETH in May 2021, one-minute bars reconstructed from published figures.

    The same seed gives the same prices. Nothing is downloaded; the description states what is simulated.

    Examples
    --------
    >>> from backtest.market import sample
    >>> sample()
    Market(BTCUSDT, ETHUSDT: 48,960 bars, 2021-05-10 to 2021-05-26)
    """
    bars, funding = reconstruct(seed)
    return Market(bars, funding, gap_limit=gap_limit, description=describe(seed))
