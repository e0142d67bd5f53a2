"""Every kind of bad input there is a test for: what is wrong, with which files, under which command.

Files are those of :func:`good_files` but for what a kind replaces; commands run in the folder that holds them.
What a user is told of each stands in ``docs/bad_input.md``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from bad_accounts import account_kinds, good_account_files
from bad_tiers import tier_file_kinds

START = datetime(2021, 5, 18, tzinfo=UTC)
HOURS = 48
NAN, INFINITE = math.nan, math.inf

SWEEP = "sweep --bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
FUNDED = f"{SWEEP} --funding funding.parquet"
ADJUSTED = f"{SWEEP} --adjustments adjustments.parquet"
RUN = "run --bars bars.parquet --venue venue.toml --out out"
FETCH = "fetch binance mark --symbol BTCUSDT --from 2021-05-18 --until 2021-05-19 --folder data --offline"
LEVELS = "levels --bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
REPLAY = "replay --bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
POLICY = "policy grid.toml --out out"
PRICE = "price --venue venue.toml --side long --entry-price 40000 --quantity 1 --date 2021-05-18"

VENUE = """\
name = "example"
title = "Example"
settlement = "USDT"

[rules]
basis = "mark"
closing_fee = { value = "at_mark", source = "an example", confidence = "assumed" }
closing_fee_rate = 0.0005

[contracts.BTCUSDT]
[[contracts.BTCUSDT.tables]]
name = "spring"
from = 2021-03-18
until = 2021-06-22
cap = 1_000_000
rows = [
  { floor = 0, rate = 0.004, max_leverage = 125, amount = 0 },
  { floor = 50_000, rate = 0.005, max_leverage = 100, amount = 50 },
  { floor = 250_000, rate = 0.01, max_leverage = 50, amount = 1_300 },
]
[[contracts.BTCUSDT.tables]]
name = "summer"
from = 2021-06-22
until = 2021-09-01
rows = [{ floor = 0, rate = 0.005, max_leverage = 20 }]
"""

GRID = """\
venue = "venue.toml"
[grid]
caps = ["none", 20]
[changes."entry basis"]
basis = "entry"
[[histories]]
name = "May"
bars = "bars.parquet"
[[books]]
name = "given"
positions = "positions.parquet"
[[books]]
name = "invented"
count = 10
[bands]
block_days = 1
"""


#: A procedure of a grid's own, with a setting.
OWN = 'settlement = "replay"\n[procedures.own]\n{}\n[grid]\nprocedures = ["own"]'


@dataclass(frozen=True)
class Kind:
    """One kind of bad input: what is wrong, the words of the command line, and the files that are not good."""

    wrong: str
    words: str = SWEEP
    files: Mapping[str, Any] = field(default_factory=dict)  #: frames, text or bytes by name


def good_files() -> dict[str, Any]:
    """Return files that a sweep takes."""
    return {
        "bars.parquet": bars(),
        "funding.parquet": funding(),
        "positions.parquet": positions(),
        "adjustments.parquet": adjustments(),
        "venue.toml": VENUE,
        **good_account_files(),
        "grid.toml": GRID,
    }


def bars() -> pl.DataFrame:
    hour = pl.int_range(HOURS, eager=True).cast(pl.Float64)
    return pl.DataFrame(
        {
            "symbol": "BTCUSDT",
            "time": hours(*range(HOURS)),
            "open": 40_000 + 10 * hour,
            "high": 40_020 + 10 * hour,
            "low": 39_980 + 10 * hour,
            "close": 40_010 + 10 * hour,
        }
    )


def funding() -> pl.DataFrame:
    return pl.DataFrame({"symbol": "BTCUSDT", "time": hours(0, 8, 16, 24), "rate": 0.0001})


def positions() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "position_id": [1, 2, 3],
            "symbol": "BTCUSDT",
            "side": ["long", "short", "long"],
            "entry_time": hours(1, 2, 3),
            "entry_price": 40_000.0,
            "quantity": [1.0, 2.0, 0.5],
            "leverage": [10.0, 5.0, 20.0],
        }
    )


def adjustments() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "position_id": [1, 2],
            "time": hours(10, 11),
            "margin_change": [100.0, 0.0],
            "quantity_change": [0.0, -1.0],
        }
    )


def hours(*count: float) -> pl.Series:
    return pl.Series([START + timedelta(hours=n) for n in count], dtype=pl.Datetime("ms", "UTC"))


def put(frame: pl.DataFrame, row: int, **cells: Any) -> pl.DataFrame:
    """Return a frame with cells of one row replaced."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in cells.items()
    )


def as_csv(frame: pl.DataFrame) -> str:
    times = pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return frame.with_columns(times).write_csv()


def as_parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def bad_bars(wrong: str, frame: pl.DataFrame, *more: str) -> Kind:
    return Kind(wrong, " ".join([SWEEP, *more]), {"bars.parquet": frame})


def bad_csv(wrong: str, text: str | bytes) -> Kind:
    return Kind(wrong, SWEEP.replace("bars.parquet", "bars.csv"), {"bars.csv": text})


def bad_funding(wrong: str, frame: pl.DataFrame) -> Kind:
    return Kind(wrong, FUNDED, {"funding.parquet": frame})


def bad_cell(wrong: str, **cells: Any) -> Kind:
    return bad_positions(wrong, put(positions(), 1, **cells))


def bad_column(wrong: str, **columns: Any) -> Kind:
    return bad_positions(wrong, positions().with_columns(**columns))


def bad_positions(wrong: str, frame: pl.DataFrame) -> Kind:
    return Kind(wrong, SWEEP, {"positions.parquet": frame})


def bad_adjustments(wrong: str, frame: pl.DataFrame) -> Kind:
    return Kind(wrong, ADJUSTED, {"adjustments.parquet": frame})


def bad_venue(wrong: str, *replaced: tuple[str, str]) -> Kind:
    return Kind(wrong, SWEEP, {"venue.toml": venue(*replaced)})


def venue(*replaced: tuple[str, str]) -> str:
    """Return the good venue file with each of some words replaced once."""
    text = VENUE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def kinds() -> dict[str, list[Kind]]:
    """Return every kind by what it is about."""
    return {
        "Files": list(file_kinds()),
        "CSV files": list(csv_kinds()),
        "Bars": list(bar_kinds()),
        "Funding": list(funding_kinds()),
        "Positions": list(position_kinds()),
        "Adjustments": list(adjustment_kinds()),
        "Accounts in cross margin": list(cross_kinds()),
        "Venue files": [*list(venue_kinds()), *list(tier_kinds())],
        "Positions, prices and rules that do not fit together": list(together_kinds()),
        "Options": list(option_kinds()),
        "Sweeps in batches": list(batch_kinds()),
        "Grid files": list(grid_kinds()),
        "The calculator": list(price_kinds()),
        "Tier tables": [Kind(*mistake) for mistake in tier_file_kinds()],
        "Fetching": list(fetch_kinds()),
        "Levels": list(level_kinds()),
        "The replay": list(replay_kinds()),
    }


def file_kinds() -> Iterator[Kind]:
    whole = as_parquet(bars())
    yield Kind("bars that do not exist", SWEEP.replace("bars.parquet", "nowhere.parquet"))
    yield Kind("positions that do not exist", SWEEP.replace("positions.parquet", "nowhere.csv"))
    yield Kind("a folder in place of a file", SWEEP.replace("bars.parquet", "."))
    yield Kind("neither Parquet nor CSV", SWEEP.replace("bars.parquet", "bars.xlsx"), {"bars.xlsx": b"PK"})
    yield Kind("an empty file", files={"bars.parquet": b""})
    yield Kind("text called Parquet", files={"bars.parquet": as_csv(bars())})
    yield Kind("Parquet cut short", files={"bars.parquet": whole[: len(whole) // 2]})
    yield Kind("Parquet with bytes overwritten", files={"bars.parquet": whole[:100] + bytes(200) + whole[300:]})


def csv_kinds() -> Iterator[Kind]:
    text = as_csv(bars())
    in_seconds = bars().with_columns(pl.col("time").dt.epoch("ms") / 1000)
    in_microseconds = bars().with_columns(pl.col("time").dt.epoch("us"))
    yield bad_csv("an empty CSV file", "")
    yield bad_csv("a header and no rows", text.splitlines()[0] + "\n")
    yield bad_csv("no header", text.split("\n", 1)[1])
    yield bad_csv("semicolons in place of commas", text.replace(",", ";"))
    yield bad_csv("a column twice", text.replace("open,high", "open,open", 1))
    yield bad_csv("text among numbers", text.replace("39990.0", "n/a", 1))
    yield bad_csv("a decimal comma", text.replace("39990.0", '"39990,0"', 1))
    yield bad_csv("an empty cell", text.replace("39990.0", "", 1))
    yield bad_csv("a cell too many in a line", text.replace("39990.0", "39990.0,1", 1))
    yield bad_csv("a cell too few in a line", text.replace("39990.0,", "", 1))
    yield bad_csv("times without a zone, as text", text.replace("Z", ""))
    yield bad_csv("a time in a notation of its own", text.replace("2021-05-18T01:00:00Z", "18.05.2021 01:00"))
    yield bad_csv("a part of a millisecond, as text", text.replace("01:00:00Z", "01:00:00.0005Z", 1))
    yield bad_csv("seconds since 1970 with a fraction", as_csv(in_seconds))
    yield bad_csv("seconds since 1970", as_csv(bars().with_columns(pl.col("time").dt.epoch("s"))))
    yield bad_csv("microseconds since 1970", as_csv(in_microseconds))
    yield bad_csv("another encoding than UTF-8", text.replace("BTC", "B\u00d6C").encode("latin-1"))


def bar_kinds() -> Iterator[Kind]:
    good = bars()
    time, price = pl.col("time"), pl.col("open")
    microseconds = good.with_columns(time.dt.cast_time_unit("us"))
    yield bad_bars("no rows", good.clear())
    yield bad_bars("a column missing", good.drop("low"))
    yield bad_bars("a column by another name", good.rename({"time": "timestamp"}))
    yield bad_bars("numbers stored as text", good.with_columns(pl.col("low").cast(pl.String)))
    yield bad_bars("times stored as text", good.with_columns(time.cast(pl.String)))
    yield bad_bars("times stored as numbers", good.with_columns(time.dt.epoch("ms")))
    yield bad_bars("times without a zone", good.with_columns(time.dt.replace_time_zone(None)))
    yield bad_bars(
        "a part of a millisecond", put(microseconds, 2, time=START + timedelta(hours=2, microseconds=2))
    )
    yield bad_bars("a column of nothing but nulls", good.with_columns(low=None))
    yield bad_bars("a null price", put(good, 5, low=None))
    yield bad_bars("a null symbol", put(good, 5, symbol=None))
    yield bad_bars("a price that is NaN", put(good, 5, low=math.nan))
    yield bad_bars("an infinite price", put(good, 5, high=math.inf))
    yield bad_bars("a price of zero", put(good, 5, low=0.0))
    yield bad_bars("a negative price", put(good, 5, low=-1.0))
    yield bad_bars("low above the open", put(good, 5, low=40_055.0))
    yield bad_bars("high below the close", put(good, 5, high=40_055.0))
    yield bad_bars("high and low swapped", good.rename({"low": "high", "high": "low"}))
    yield bad_bars("a last price out of order", put(with_last(good), 5, last_high=1.0))
    yield bad_bars("a negative volume", put(good.with_columns(volume=price), 5, volume=-1.0))
    yield bad_bars("newest first", good.reverse())
    yield bad_bars("a row out of order", pl.concat([good[1:2], good[0:1], good[2:]]))
    yield bad_bars("a time twice", pl.concat([good[:6], good[5:]]))
    yield bad_bars("bars that overlap", put(good, 5, time=START + timedelta(hours=4.5)))


def funding_kinds() -> Iterator[Kind]:
    good = funding()
    yield bad_funding("no rates", good.drop("rate"))
    yield bad_funding("a rate that is NaN", put(good, 1, rate=math.nan))
    yield bad_funding("a null rate", put(good, 1, rate=None))
    yield bad_funding("stamps newest first", good.reverse())
    yield bad_funding("a stamp twice", pl.concat([good[:2], good[1:]]))
    yield bad_funding("symbols by other names than the bars'", good.with_columns(symbol=pl.lit("BTC-PERP")))


def position_kinds() -> Iterator[Kind]:
    good = positions()
    unzoned = hours(5, 6, 7).dt.replace_time_zone(None)
    yield bad_positions("no quantities", good.drop("quantity"))
    yield bad_positions("neither margin nor leverage", good.drop("leverage"))
    yield bad_cell("an unknown side", side="Up")
    yield bad_cell("no side", side=None)
    yield bad_column("sides as 1 and 2", side=pl.Series([1, 2, 1]))
    yield bad_cell("a negative quantity", quantity=-2.0)
    yield bad_cell("a quantity of zero", quantity=0.0)
    yield bad_cell("a quantity that is NaN", quantity=math.nan)
    yield bad_cell("an entry price of zero", entry_price=0.0)
    yield bad_cell("a leverage of zero", leverage=0.0)
    yield bad_column("leverage stored as text", leverage=pl.Series(["10x", "5x", "20x"]))
    yield bad_column("a margin of zero", margin=pl.Series([100.0, 0.0, 100.0]))
    yield bad_cell("neither margin nor leverage in a row", leverage=None)
    yield bad_column("a weight of zero", weight=pl.Series([1.0, 0.0, 1.0]))
    yield bad_cell("an id twice", position_id=1)
    yield bad_cell("no id", position_id=None)
    yield bad_column("ids with a point", position_id=pl.Series([1.0, 2.0, 3.0]))
    yield bad_column("exit times without a zone", exit_time=unzoned)
    yield bad_column("an exit before the entry", exit_time=hours(5, 1, 5))
    yield bad_column("an exit price without an exit time", exit_price=39_000.0)
    yield bad_column("a stop on the winning side", stop_price=pl.Series([39_000.0, 39_000.0, None]))
    yield bad_column("a stop that is NaN", stop_price=pl.Series([39_000.0, math.nan, None]))
    yield bad_column("a take-profit on the losing side", take_profit_price=pl.Series([39_000.0, 39_000.0, None]))
    yield bad_column("outcomes of an earlier sweep", outcome=pl.lit("open"), liquidated=pl.lit(False))


def adjustment_kinds() -> Iterator[Kind]:
    good = adjustments()
    yield bad_adjustments("neither change", good.drop("margin_change", "quantity_change"))
    yield bad_adjustments("an unknown position", put(good, 1, position_id=9))
    yield bad_adjustments("a change before the entry", put(good, 1, time=START + timedelta(hours=1)))
    yield bad_adjustments("a change that is NaN", put(good, 1, margin_change=math.nan))
    yield bad_adjustments("a part traded at zero", put(good.with_columns(price=pl.lit(1.0)), 1, price=0.0))
    yield bad_adjustments("an addition beyond the table", put(good, 1, quantity_change=1e9))
    yield bad_adjustments("more closed than there is", put(good, 1, quantity_change=-3.0))


def venue_kinds() -> Iterator[Kind]:
    basis, contract = 'basis = "mark"', "[contracts.BTCUSDT]"
    table = "[[contracts.BTCUSDT.tables]]"
    yield Kind("an unknown venue", SWEEP.replace("venue.toml", "nowhere"))
    yield Kind("a binary file", files={"venue.toml": b"\xff\xfe"})
    yield Kind("an empty venue file", files={"venue.toml": ""})
    yield bad_venue("a TOML mistake", ("[rules]", "[rules"))
    yield bad_venue(
        "several mistakes", (basis, 'basis = "last"'), ("rate = 0.005,", 'rate = "1 %",'), ("tit", "tt")
    )
    yield bad_venue("an unknown rule", (basis, f"{basis}\nfee = 0.1"))
    yield bad_venue("an unknown trigger", (basis, f'{basis}\ntrigger = "=<"'))
    yield bad_venue("an infinite rate", ("rate = 0.005,", "rate = -inf,"))
    yield bad_venue("a number written as text", ("closing_fee_rate = 0.0005", 'closing_fee_rate = "0.05 %"'))
    yield bad_venue("a fee without its rate", ("closing_fee_rate = 0.0005", ""))
    yield bad_venue("a fee that is NaN", ("closing_fee_rate = 0.0005", "closing_fee_rate = nan"))
    yield bad_venue("rate and fee of 1 and more", ("closing_fee_rate = 0.0005", "closing_fee_rate = 0.992"))
    yield bad_venue("a discount beyond 1", (basis, f'{basis}\ntakeover_price = "backstop"\ntakeover_discount = 5'))
    yield bad_venue("no tables", *[(table, "[[contracts.BTCUSDT.table]]")] * 2)
    yield bad_venue("an unknown that is no sentence", ("[rules]", "unknown = [1]\n\n[rules]"))
    yield bad_venue("a default like no contract", (contract, f'[default]\nlike = "ETHUSDT"\n{contract}'))
    yield bad_venue("a default like two contracts", (contract, f'[default]\nlike = ["BTCUSDT"]\n{contract}'))
    yield Kind("no contracts", files={"venue.toml": 'name = "example"\ntitle = "Example"\n'})


def tier_kinds() -> Iterator[Kind]:
    summer = 'name = "summer"'
    by_contracts = f'{summer}\nmodel = "flat"\nsize = "contracts"\ncontract_size = 0'
    yield bad_venue("tiers out of order", ("floor = 50_000", "floor = 300_000"))
    yield bad_venue("a first tier that begins above 0", ("floor = 0,", "floor = 10,"))
    yield bad_venue("rates that do not rise", ("rate = 0.01,", "rate = 0.005,"))
    yield bad_venue("a rate of 0", ("rate = 0.004,", "rate = 0,"))
    yield bad_venue("a rate in percent", ("rate = 0.01,", "rate = 1.0,"))
    yield bad_venue("an amount that makes a jump", ("amount = 1_300", "amount = 1_200"))
    yield bad_venue("an amount left out", (", amount = 50 ", ""))
    yield bad_venue("amounts of flat tiers", ('name = "spring"', 'name = "spring"\nmodel = "flat"'))
    yield bad_venue("a highest leverage below 1", ("max_leverage = 125", "max_leverage = 0.5"))
    yield bad_venue("an end below the last tier", ("cap = 1_000_000", "cap = 100_000"))
    yield bad_venue("no rows of tiers", ("rows = [{ floor = 0, rate = 0.005, max_leverage = 20 }]", ""))
    yield bad_venue("a tier that is no table", ("{ floor = 0, rate = 0.005, max_leverage = 20 }", "0.005"))
    yield bad_venue("an unknown name in a tier", ("max_leverage = 125", "leverage = 125"))
    yield bad_venue("an unknown model", (summer, f'{summer}\nmodel = "cross"'))
    yield bad_venue("a leverage model without its factor", (summer, f'{summer}\nmodel = "leverage"'))
    yield bad_venue("a contract size of 0", (summer, by_contracts))
    yield bad_venue("a date in a notation of its own", ("from = 2021-03-18", 'from = "18.03.2021"'))
    yield bad_venue("a table that ends before it begins", ("until = 2021-06-22", "until = 2021-03-01"))
    yield bad_venue("tables whose dates overlap", ("from = 2021-06-22", "from = 2021-06-20"))
    yield bad_venue("tables of one name", ('"summer"', '"spring"'))


def cross_kinds() -> Iterator[Kind]:
    for wrong, words, files in account_kinds():
        told = {name: venue(content) if name == "venue.toml" else content for name, content in files.items()}
        yield Kind(wrong, words, told)
    before = "[contracts.BTCUSDT]"
    for wrong, line in (
        ("an unknown rule for accounts", "margin = 1"),
        ("an unknown step after the trigger", 'steps = ["sell", "close"]'),
        ("steps that leave positions over", 'steps = ["reduce"]'),
        ("rounds that are no whole number", "rounds = 2.5"),
        ("slippage above one", "slippage = 2"),
    ):
        yield bad_venue(wrong, (before, f"[cross]\n{line}\n\n{before}"))


def together_kinds() -> Iterator[Kind]:
    small = positions().drop("leverage").with_columns(margin=pl.Series([4_000.0, 400.0, 4_000.0]))
    odds = bars().with_columns(pl.col("open", "high", "low", "close") / 1e5).with_columns(low=0.0)
    other = ("contracts.BTCUSDT", "contracts.XBTUSDT")
    yield bad_cell("a symbol without bars", symbol="ETHUSDT")
    yield bad_cell("an entry before the bars", entry_time=START - timedelta(minutes=1))
    yield bad_cell("an entry after the bars", entry_time=START + timedelta(hours=49))
    yield Kind("a window that leaves entries out", f"{SWEEP} --from 2021-05-19")
    yield bad_cell("leverage beyond the limit of its tier", leverage=101.0)
    yield bad_positions("a margin too small for its tier", small)
    yield bad_cell("a size beyond the table", quantity=26.0)
    yield bad_venue("no tiers in force at the entry", ("from = 2021-03-18", "from = 2021-05-19"))
    yield bad_venue("a symbol the venue does not list", *[other] * 3)
    yield Kind("a substitute table that does not exist", f"{SWEEP} --tiers BTCUSDT=winter")
    yield Kind("a substitute for a symbol without bars", f"{SWEEP} --tiers ETHUSDT=spring")
    yield Kind("a trigger on the last price without one", f"{SWEEP} --trigger-price last")
    yield Kind("a trigger on the index without one", f"{SWEEP} --trigger-price index")
    yield Kind("a fill at the last close without one", f"{SWEEP} --fill-price last_close")
    yield bad_bars("a last price in part", with_last(bars()).drop("last_low"), "--trigger-price last")
    yield bad_venue("a venue's own trigger without its price", ("basis", 'trigger_price = "last"\nbasis'))
    yield bad_bars("odds of zero for a linear contract", odds)
    coin = bars().with_columns(symbol=pl.lit("BTCUSD"))
    yield bad_bars("prices above 1 for a face-value contract", bars(), "--venue ascend")
    odd = positions().with_columns(
        symbol=pl.lit("EVENT"), entry_price=pl.Series([0.5, 40_000.0, 0.5]), quantity=100.0, margin=50.0
    )
    event = bars().with_columns((pl.col("open", "high", "low", "close") / 1e5), symbol=pl.lit("EVENT"))
    yield Kind(
        "an entry price above 1 of a face-value contract",
        f"{SWEEP} --venue ascend",
        {"bars.parquet": event, "positions.parquet": odd},
    )
    exit_ = positions().with_columns(exit_time=hours(30).item(), exit_price=0.0)
    yield Kind("an exit at zero from a linear contract", SWEEP, {"positions.parquet": exit_})
    yield bad_bars("contracts settled in several currencies", pl.concat([bars(), coin]), "--venue bybit")


def option_kinds() -> Iterator[Kind]:
    """Yield kinds whose words say what is wrong."""
    sweeps = [
        "--intrabar worst", "--entry-bar yes", "--trigger-price spot", "--fill-price close",
        "--leverage-limit ignore", "--gap-limit=-1", "--gap-limit 6h", "--gap-limit 1e300", "--threads 0",
        "--tiers latest", "--tiers nearest --tiers BTCUSDT=spring", "--symbol ETHUSDT", "--from 19.05.2021",
        "--from 2022-01-01", "--from 2021-05-19 --until 2021-05-18", "--thread 3",
        "--batch-rows 0", "--workers 0", "--workers 2 --cluster tcp://127.0.0.1:1", "--storage region",
    ]  # fmt: skip
    runs = [
        "--count 0", "--count 1e6", "--seed -1", "--every hourly", "--chart ETHUSDT",
        "--positions positions.parquet --count 10", "--adjustments adjustments.parquet",
    ]  # fmt: skip
    yield from (Kind(f"`{words}`", f"{SWEEP} {words}") for words in sweeps)
    yield from (Kind(f"`{words}`", f"{RUN} {words}") for words in runs)
    replays = [
        "--mark-impact 1e-9",
        "--participation 0.1",
        "--participation 0.1 --square-root-impact 1",
        "--trace 99",
    ]
    yield from (Kind(f"`{words}`", f"{REPLAY} {words}") for words in replays)
    yield Kind("funding without bars", "run --funding funding.parquet --out out")
    empty = ["--out=", "--bars=", "--positions=", "--venue=", "--symbol=", "--from=", "--tiers=", "--like="]
    yield from (Kind(f"`{word}`", f"{SWEEP} {word}") for word in empty)
    yield Kind("a file to write to", SWEEP.replace("--out out", "--out venue.toml"))
    yield Kind("a folder inside a file to write to", SWEEP.replace("--out out", "--out venue.toml/out"))
    yield Kind("an unknown command", "simulate")
    yield Kind("no command", "")


def batch_kinds() -> Iterator[Kind]:
    """Yield kinds that only sweeps in batches have words of their own for."""
    batches = f"{SWEEP} --batch-rows 2"
    stranger = put(adjustments(), 1, position_id=9)
    yield Kind("positions in a folder and not in batches", SWEEP.replace("positions.parquet", "."))
    yield Kind("positions in batches that do not exist", batches.replace("positions.parquet", "nowhere"))
    yield Kind("positions in batches as CSV", batches.replace("positions.parquet", "p.csv"), {"p.csv": "a"})
    yield Kind("bars of a sweep in batches that do not exist", batches.replace("bars.parquet", "nowhere.parquet"))
    yield Kind("an id twice, in another batch", batches, {"positions.parquet": put(positions(), 2, position_id=1)})
    yield Kind(
        "an adjustment of no position of any batch",
        f"{batches} --adjustments adjustments.parquet",
        {"adjustments.parquet": stranger},
    )
    yield Kind("a window without bars, in batches", f"{batches} --from 2022-01-01")
    yield Kind("a trigger without its price, in batches", f"{batches} --trigger-price last")
    yield Kind("a storage option that is misspelt", f"{batches} --storage aws_regoin=eu-west-1")
    yield Kind("a storage option that must be a number", f"{batches} --storage max_retries=often")


def grid_kinds() -> Iterator[Kind]:
    """Yield kinds of grid files that ``backtest policy`` refuses."""
    for wrong, old, new in (
        ("a grid file that is no TOML", "[grid]", "[grid"),
        ("a venue nobody knows", "venue.toml", "nowhere"),
        ("no histories, which are called something else", "[[histories]]", "[[history]]"),
        ("a grid of something that is no axis", "caps =", "cap ="),
        ("a cap in words", '"none"', '"all"'),
        ("a cap below one", "20]", "0.5]"),
        ("a cap twice", "20]", "20, 20]"),
        ("a rule changed to what it cannot be", '"entry"\n', '"exit"\n'),
        ("a change of what is an axis of its own", 'basis = "entry"', "rate_scale = 2"),
        ("a change that a sweep would not see", 'basis = "entry"', 'adl_rank = "pro_rata"'),
        ("a settlement nobody knows", "[grid]", 'settlement = "simple"\n[grid]'),
        ("a venue's procedure without a replay", "[grid]", '[grid]\nprocedures = ["mexc"]'),
        ("impact without a replay", "[grid]", "[impact]\nlinear = 1e-9\n[grid]"),
        ("a procedure nobody knows", "[grid]", 'settlement = "replay"\n[grid]\nprocedures = ["mexico"]'),
        ("a procedure's setting that it has not", "[grid]", OWN.format("steps = 4")),
        ("a procedure's setting beyond its range", "[grid]", OWN.format("step_fraction = 4")),
        ("a procedure that is not tried", "[grid]", OWN.format("rounds = 2").replace('["own"]', '["okx"]')),
        ("impact on the mark in a grid", "[grid]", 'settlement = "replay"\n[impact]\nmark = 1e-9\n[grid]'),
        ("an estimated book that is to be replayed", "count = 10", 'population = "volume"'),
        ("a name used twice", '"invented"', '"given"'),
        ("a leverage mix nobody knows", "count = 10", 'leverage_mix = "huge"'),
        ("a count that is no whole number", "count = 10", "count = 2.5"),
        ("positions given and drawn at once", "[[books]]\n", "[[books]]\ncount = 10\n"),
        ("adjustments of a synthetic book", "count = 10", 'adjustments = "adjustments.parquet"'),
        ("a turnover of a book that has none", "count = 10", "turnover = 0.1"),
        ("a history without prices", 'bars = "bars.parquet"', "sample = false"),
        ("a setting of bands that does not exist", "block_days", "block_day"),
        ("blocks longer than the history", "block_days = 1", "block_days = 100"),
        ("bars of a history that do not exist", "bars.parquet", "elsewhere.parquet"),
        ("bars of a history that are a folder", 'bars = "bars.parquet"', 'bars = "."'),
        ("a name of a file with a null character", "bars.parquet", r"bars\u0000.parquet"),
        ("a whole number beyond 64 bits", "count = 10", "count = 9_223_372_036_854_775_808"),
        ("a count of zero", "count = 10", "count = 0"),
        ("tiers of a history that no table is called", 'name = "May"', 'name = "May"\ntiers = "winter"'),
        ("tiers of all histories that no table is called", "[grid]", 'tiers = "winter"\n[grid]'),
        ("a length of blocks that is no number", "block_days = 1", "block_days = nan"),
        ("symbols that are no text", 'bars = "bars.parquet"', 'bars = "bars.parquet"\nsymbols = [{}]'),
        ("a choice that is a list", "count = 10", 'leverage_mix = ["low"]'),
    ):  # fmt: skip
        assert GRID.count(old) >= 1
        text = GRID.replace(old, new, 1)
        if "estimated" in wrong:
            text = text.replace("[grid]", 'settlement = "replay"\n[grid]', 1)
        yield Kind(wrong, POLICY, {"grid.toml": text})
    weighted = positions().with_columns(weight=2.0)
    replayed = GRID.replace("[grid]", 'settlement = "replay"\n[grid]', 1)
    yield Kind(
        "a book of weights that is to be replayed", POLICY, {"grid.toml": replayed, "positions.parquet": weighted}
    )
    books = GRID[GRID.index("[[books]]") : GRID.index("[bands]")]
    estimated = '[[books]]\nname = "estimated"\npopulation = "volume"\nturnover = 0\n'
    empty = GRID.replace(books, estimated).replace("[bands]\nblock_days = 1\n", "")
    traded = {"grid.toml": empty, "bars.parquet": bars().with_columns(volume=1.0)}
    yield Kind("a book without positions", POLICY, traded)
    yield Kind("a grid file that does not exist", POLICY.replace("grid.toml", "nowhere.toml"))
    late = positions().with_columns(entry_time=pl.lit(START + timedelta(days=9)).cast(pl.Datetime("ms", "UTC")))
    yield Kind("a book that its history does not hold", POLICY, {"positions.parquet": late})
    both = pl.concat([bars(), bars().with_columns(symbol=pl.lit("BTCUSD"))])
    several = {"bars.parquet": both, "grid.toml": GRID.replace("venue.toml", "bybit")}
    yield Kind("a history of contracts settled in several currencies", POLICY, several)


def price_kinds() -> Iterator[Kind]:
    yield Kind("neither margin nor leverage for the calculator", PRICE)
    yield Kind("an unknown side for the calculator", PRICE.replace("long", "buy"))
    yield Kind("a negative price for the calculator", PRICE.replace("40000", "-40000"))
    yield Kind("an infinite price for the calculator", PRICE.replace("40000", "inf"))
    yield Kind("a quantity of zero for the calculator", PRICE.replace("--quantity 1", "--quantity 0"))
    yield Kind(
        "a size beyond the calculator's table", f"{PRICE.replace('--quantity 1', '--quantity 99')} --leverage 5"
    )
    yield Kind("a symbol the calculator's venue does not list", f"{PRICE} --leverage 5 --symbol ETHUSDT")
    yield Kind("the calculator's window without bars", f"{PRICE} --leverage 5 --at 2021-05-18T03:00")
    yield Kind(
        "a price above 1 of a face-value contract for the calculator", f"{PRICE} --leverage 5 --venue ascend"
    )
    yield Kind("a time of no table for the calculator", f"{PRICE.replace('2021-05', '2020-05')} --leverage 5")
    account = "price --venue venue.toml --date 2021-05-18 --leg BTCUSDT long 1 40000"
    yield Kind("a leg of too few words for the calculator", f"{account} --leg BTCUSDT long --wallet 9")
    yield Kind("an account without a wallet for the calculator", account)
    yield Kind("options of one position for an account", f"{account} --wallet 9 --leverage 5")
    yield Kind("a mark of a symbol that the account does not hold", f"{account} --wallet 9 --mark ETHUSDT=1")
    yield Kind(
        "an account file with an unknown field",
        "price --venue venue.toml --account account.toml",
        {"account.toml": b"walet = 5"},
    )
    yield Kind("too few bars for a volatility", f"{PRICE} --leverage 5 --bars bars.parquet --at 2021-05-18T03:00")


def fetch_kinds() -> Iterator[Kind]:
    yield Kind("a venue without a known archive", FETCH.replace("binance", "kraken"))
    yield Kind("a data set the venue has not", FETCH.replace("mark", "marks"))
    yield Kind("liquidations the venue has removed", FETCH.replace("mark", "liquidations"))
    yield Kind("a symbol as others write it", FETCH.replace("BTCUSDT", "BTC/USDT"))
    yield Kind("no symbol to fetch", FETCH.replace("--symbol BTCUSDT", ""))
    yield Kind("no start of what to fetch", FETCH.replace("--from 2021-05-18", ""))
    yield Kind("an end before the start", FETCH.replace("2021-05-19", "2021-05-17"))
    yield Kind("a start in the future", FETCH.replace("--from 2021-05-18 --until 2021-05-19", "--from 2999-01-01"))
    yield Kind("an interval the venue has not", f"{FETCH} --interval 7m")
    yield Kind("too many downloads at a time", f"{FETCH} --parallel 99")
    yield Kind("offline and refreshed", f"{FETCH} --refresh")
    yield Kind("offline and recent", f"{FETCH} --recent")
    yield Kind("a mirror without a name", f"{FETCH} --host http://127.0.0.1")
    yield Kind("a mirror of no host", f"{FETCH} --host kraken=http://127.0.0.1")
    yield Kind("bars to write without prices", f"{FETCH.replace('mark', 'funding')} --out out")
    yield Kind("a file to keep data in", FETCH.replace("--folder data", "--folder venue.toml"))
    yield Kind("offline and not on the disk", FETCH)


def level_kinds() -> Iterator[Kind]:
    """Yield kinds that only levels can have."""
    words = [
        "--at 2021-05-17", "--at 2021-06-30", "--at noon", "--window 7", "--reach 2", "--half-life 0h",
        "--maximum 0", "--columns 0", "--formats bmp", "--formats png,bmp", "--look grey",
        "--size poster", "--colours theirs", "--side both", "--leverage 20",
        "--leverage 50-20", "--timezone Berlin", "--since 2021-05-17", "--since 2021-06-30",
        "--recorded nowhere.parquet", "--recorded positions.parquet --hidden-truth", "--chart ETHUSDT",
    ]  # fmt: skip
    yield from (Kind(f"levels with `{each}`", f"{LEVELS} {each}") for each in words)
    events = bars().select("time", price=-pl.col("close"), notional=pl.lit(1.0))
    yield Kind(
        "recorded liquidations at a price below zero",
        f"{LEVELS} --recorded recorded.parquet",
        {"recorded.parquet": as_parquet(events)},
    )


def replay_kinds() -> Iterator[Kind]:
    """Yield kinds that only a replay can have."""
    heavy = as_parquet(positions().with_columns(weight=pl.Series([1.0, 2.5, 0.5])))
    yield Kind("a replay of positions with weights", REPLAY, {"positions.parquet": heavy})
    named = as_parquet(positions().with_columns(fees=pl.lit(1.0)))
    yield Kind("a replay of positions with a column it adds", REPLAY, {"positions.parquet": named})
    yield Kind("tested entry bars under impact", f"{REPLAY} --entry-bar tested --impact 1e-9")


def with_last(frame: pl.DataFrame) -> pl.DataFrame:
    """Return bars whose last price is the mark price."""
    return frame.with_columns(pl.col("open", "high", "low", "close").name.prefix("last_"))
