"""``backtest check`` of open positions: how near each is to liquidation."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta

import polars as pl

from backtest.amounts import column, duration, number, percentage, plural
from backtest.cli.check.prices import is_archive, read_prices
from backtest.cli.common import summary_file
from backtest.cli.common.inputs import read_tiers
from backtest.cli.common.outputs import outputs
from backtest.cli.common.text import facts, table
from backtest.errors import FetchError
from backtest.market import Market
from backtest.rules.venue import Venue
from backtest.study.holders import nearness
from backtest.trades import read_positions
from backtest.trades.archive_prices import recent_prices

#: Within which the margin to add makes liquidation rare.
WITHIN = timedelta(hours=24)


def check_positions(options: Namespace) -> None:
    """Print how near open positions are to liquidation, and write it."""
    positions = read_positions(options.trades, source=options.source)
    market = _prices(options, positions)
    tiers = "nearest" if options.tiers is None else read_tiers(options)
    parts = []
    for name in options.venue:
        own = market if isinstance(market, Market) else market[name]
        found = nearness(positions, own, Venue.load(name), tiers=tiers)
        parts.append(found.with_columns(venue=pl.lit(name)))
    rows = pl.concat(parts, how="vertical_relaxed")
    with outputs(options.out) as files:
        files.write_parquet("positions.parquet", rows)
        rows.with_columns(horizon_hours=pl.col("horizon").dt.total_hours()).drop("horizon").write_csv(
            files.path("positions.csv")
        )
        files.write_summary({**summary_file.request(options), "positions": positions.height})
    print(_table(rows) + "\n")
    written = ", ".join(str(path) for path in files.written)
    named = [
        ("positions", plural(positions.height, "open position")),
        ("chance", "how often the price moved that far, from any opening of the prices given"),
        ("written", written),
    ]
    print(facts(named, indent=""))


def _prices(options: Namespace, positions: pl.DataFrame) -> Market | dict[str, Market]:
    paths = [path for _, path in options.prices or ()]
    if len(paths) != 1 or not is_archive(paths[0]):
        return read_prices(options, None, options.venue)
    try:
        return recent_prices(positions, str(paths[0]), interval=options.interval, offline=not options.fetch)
    except FetchError as error:
        raise FetchError(f"{error.sentence}, or --fetch" if not options.fetch else error.sentence) from None


def _table(rows: pl.DataFrame) -> str:
    """Return a row a position and venue, a column a horizon."""
    horizons = rows["horizon"].unique(maintain_order=True).to_list()
    ways = [rows.filter(pl.col("horizon") == horizon) for horizon in horizons]
    first, added = ways[0], rows.filter(pl.col("horizon") == WITHIN)["margin_to_add"].to_list()
    prices = [column(first[name].to_list()) for name in ("entry_price", "mark_price", "liquidation_price",
                                                         "venue_liquidation_price")]  # fmt: skip
    cells = [
        first["symbol"].to_list(),
        first["side"].cast(pl.String).to_list(),
        first["venue"].to_list(),
        *prices,
        [percentage(value) for value in first["distance"]],
        [number(value, 2) for value in first["distance_days"]],
        *[[percentage(value, 1) for value in own["chance"]] for own in ways],
        column(added),
    ]
    header = [
        "symbol", "side", "venue", "entry\nprice", "mark\nprice", "liquidation\nprice, ours", "the\nvenue's",
        "distance\n(%)", "in days of\nvolatility",
        *(f"chance in\n{duration(horizon)} (%)" for horizon in horizons),
        f"margin to add for\n< 1 % in {duration(WITHIN)}",
    ]  # fmt: skip
    return f"Open positions\n{table(header, zip(*cells, strict=True), left=3)}"
