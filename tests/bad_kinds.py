"""Every kind of bad input there is a test for: the files, the command, and the one line it must end in.

Files are those of :func:`good_files` but for what a kind replaces; commands run in the folder that holds them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

START = datetime(2021, 5, 18, tzinfo=UTC)
HOURS = 48
NAN, INFINITE = math.nan, math.inf

SWEEP = "sweep --bars bars.parquet --positions positions.parquet --venue venue.toml --out out"
SWEEP_CSV = "sweep --bars bars.csv --positions positions.parquet --venue venue.toml --out out"
FUNDED = f"{SWEEP} --funding funding.parquet"
ADJUSTED = f"{SWEEP} --adjustments adjustments.parquet"
RUN = "run --bars bars.parquet --venue venue.toml --out out"
PRICE = "price --venue venue.toml --side long --entry-price 40000 --quantity 1"
FRAME = "frame"

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


@dataclass(frozen=True)
class Kind:
    """One kind of bad input: what is wrong, how it is asked for, and what the user is told."""

    wrong: str
    told: str
    words: str = SWEEP
    files: Mapping[str, Any] = field(default_factory=dict)  #: frames, text, bytes; None: absent


def good_files() -> dict[str, Any]:
    """Return files that a sweep takes."""
    return {
        "bars.parquet": bars(),
        "funding.parquet": funding(),
        "positions.parquet": positions(),
        "adjustments.parquet": adjustments(),
        "venue.toml": VENUE,
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
        {"position_id": [1, 2], "time": hours(10, 11), "margin_change": [100.0, 0.0], "quantity_change": [0.0, -1.0]}
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


def late(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def as_csv(frame: pl.DataFrame) -> str:
    times = pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return frame.with_columns(times).write_csv()


def as_parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def bad_bars(wrong: str, frame: pl.DataFrame, told: str, words: str = SWEEP) -> Kind:
    return Kind(wrong, told, words, {"bars.parquet": frame})


def bad_csv(wrong: str, text: str, told: str) -> Kind:
    return Kind(wrong, told, SWEEP_CSV, {"bars.csv": text})


def bad_funding(wrong: str, frame: pl.DataFrame, told: str) -> Kind:
    return Kind(wrong, told, FUNDED, {"funding.parquet": frame})


def bad_position(wrong: str, told: str, row: int = 1, **cells: Any) -> Kind:
    return bad_positions(wrong, put(positions(), row, **cells), told)


def bad_positions(wrong: str, frame: pl.DataFrame, told: str, words: str = SWEEP) -> Kind:
    return Kind(wrong, told, words, {"positions.parquet": frame})


def bad_adjustments(wrong: str, frame: pl.DataFrame, told: str) -> Kind:
    return Kind(wrong, told, ADJUSTED, {"adjustments.parquet": frame})


def bad_venue(wrong: str, told: str, *replaced: tuple[str, str], words: str = SWEEP) -> Kind:
    text = VENUE
    for old, new in replaced:
        assert old in text, old
        text = text.replace(old, new, 1)
    return Kind(wrong, told, words, {"venue.toml": text})


def kinds() -> dict[str, list[Kind]]:
    """Return every kind by what it is about."""
    return {
        "Files": list(file_kinds()),
        "Bars": list(bar_kinds()),
        "Funding": list(funding_kinds()),
        "Positions": list(position_kinds()),
        "Adjustments": list(adjustment_kinds()),
        "Venue files": list(venue_kinds()),
        "What positions, prices and rules do not allow together": list(together_kinds()),
        "Options": list(option_kinds()),
    }


def file_kinds() -> Iterator[Kind]:
    whole = as_parquet(bars())
    text = as_csv(bars())
    yield Kind("no such file", "", "sweep --bars nowhere.parquet --positions positions.parquet --venue venue.toml --out out")
    yield Kind("no such file of positions", "", "sweep --bars bars.parquet --positions nowhere.csv --venue venue.toml --out out")
    yield Kind("a folder in place of a file", "", "sweep --bars . --positions positions.parquet --venue venue.toml --out out")
    yield Kind("a folder called x.parquet", "", "sweep --bars folder.parquet --positions positions.parquet --venue venue.toml --out out", {"folder.parquet/inner.parquet": bars()})
    yield Kind("neither Parquet nor CSV", "", "sweep --bars bars.xlsx --positions positions.parquet --venue venue.toml --out out", {"bars.xlsx": b"PK"})
    yield Kind("no Parquet inside", "", files={"bars.parquet": b"not at all"})
    yield Kind("Parquet cut short", "", files={"bars.parquet": whole[: len(whole) // 2]})
    yield Kind("Parquet with its middle overwritten", "", files={"bars.parquet": whole[:100] + bytes(200) + whole[300:]})
    yield Kind("an empty Parquet file", "", files={"bars.parquet": b""})
    yield bad_csv("an empty CSV file", "", "")
    yield bad_csv("a header without rows", text.splitlines()[0] + "\n", "")
    yield bad_csv("text in a column of numbers", text.replace("39990.0", "n/a", 1), "")
    yield bad_csv("decimal comma", text.replace("39990.0", '"39990,0"', 1), "")
    yield bad_csv("semicolons", text.replace(",", ";"), "")
    yield bad_csv("a line with a cell too many", text.replace("39990.0", "39990.0,1,2", 1), "")
    yield bad_csv("a line with a cell too few", text.replace("39990.0,", "", 1), "")
    yield bad_csv("no header", text.split("\n", 1)[1], "")
    yield bad_csv("times without a zone", text.replace("Z", ""), "")
    yield bad_csv("a local time", text.replace("2021-05-18T01:00:00Z", "18.05.2021 01:00", 1), "")
    yield bad_csv("a nan in CSV", text.replace("39990.0", "nan", 1), "")
    yield bad_csv("an empty cell", text.replace("39990.0", "", 1), "")
    yield bad_csv("seconds since 1970", as_csv(bars().with_columns(pl.col("time").dt.epoch("s"))), "")
    yield bad_csv("seconds since 1970, fractional", as_csv(bars().with_columns(pl.col("time").dt.epoch("ms") / 1000)), "")
    yield bad_csv("a column twice", text.replace("close", "low", 1), "")
    yield Kind("CSV not in UTF-8", "", SWEEP_CSV, {"bars.csv": text.replace("BTC", "BTÖ").encode("latin-1")})


def bar_kinds() -> Iterator[Kind]:
    good = bars()
    one = good.head(1)
    yield bad_bars("no bars", good.clear(), "")
    yield bad_bars("a column is missing", good.drop("low"), "")
    yield bad_bars("a column is named otherwise", good.rename({"time": "timestamp"}), "")
    yield bad_bars("columns in capitals", good.rename(str.upper), "")
    yield bad_bars("numbers as text", good.with_columns(pl.col("low").cast(pl.String)), "")
    yield bad_bars("times as text", good.with_columns(pl.col("time").cast(pl.String)), "")
    yield bad_bars("times as integers", good.with_columns(pl.col("time").dt.epoch("ms")), "")
    yield bad_bars("times without a zone", good.with_columns(pl.col("time").dt.replace_time_zone(None)), "")
    yield bad_bars("times of another zone", good.with_columns(pl.col("time").dt.convert_time_zone("Europe/Paris")), "")
    yield bad_bars("dates", good.with_columns(pl.col("time").dt.date()), "")
    yield bad_bars("parts of a millisecond", put(good.with_columns(pl.col("time").dt.cast_time_unit("us")), 2, time=late(7200.0000005 + 1e-6)), "")
    yield bad_bars("a null price", put(good, 5, low=None), "")
    yield bad_bars("a null symbol", put(good, 5, symbol=None), "")
    yield bad_bars("a null time", put(good, 5, time=None), "")
    yield bad_bars("a column of nulls", good.with_columns(low=None), "")
    yield bad_bars("NaN", put(good, 5, low=NAN), "")
    yield bad_bars("infinity", put(good, 5, high=INFINITE), "")
    yield bad_bars("a price of zero", put(good, 5, low=0.0), "")
    yield bad_bars("a negative price", put(good, 5, low=-1.0), "")
    yield bad_bars("low above the open", put(good, 5, low=40_055.0), "")
    yield bad_bars("high below the close", put(good, 5, high=40_055.0), "")
    yield bad_bars("low and high swapped", good.rename({"low": "high", "high": "low"}), "")
    yield bad_bars("last prices out of order", good.with_columns(last_open="open", last_high="low", last_low="low", last_close="close"), "")
    yield bad_bars("times fall", good.reverse(), "")
    yield bad_bars("one time out of order", pl.concat([good.slice(1, 1), good.slice(0, 1), good.slice(2)]), "")
    yield bad_bars("a time twice", pl.concat([good.head(6), good.slice(5)]), "")
    yield bad_bars("bars overlap", put(good, 5, time=late(4.5 * 3600)), "")
    yield bad_bars("last prices only in part", good.with_columns(last_low="low"), "", f"{SWEEP} --trigger-price last")
    yield bad_bars("negative volume", good.with_columns(volume=pl.lit(-1.0)), "")
    yield bad_bars("empty symbol", put(good, 5, symbol=""), "")


def funding_kinds() -> Iterator[Kind]:
    good = funding()
    yield bad_funding("NaN", put(good, 1, rate=NAN), "")
    yield bad_funding("null", put(good, 1, rate=None), "")
    yield bad_funding("percent", put(good, 1, rate=30.0), "")
    yield bad_funding("unsorted", good.reverse(), "")
    yield bad_funding("twice", pl.concat([good.head(2), good.slice(1)]), "")
    yield bad_funding("no rate", good.drop("rate"), "")
    yield bad_funding("other symbol", good.with_columns(symbol=pl.lit("BTC-PERP")), "")
    yield bad_funding("none in the window", good.with_columns(pl.col("time").dt.offset_by("1y")), "")
    yield bad_funding("empty", good.clear(), "")


def position_kinds() -> Iterator[Kind]:
    good = positions()
    yield bad_positions("a column is missing", good.drop("quantity"), "")
    yield bad_position("an unknown side (in capitals)", "", side="Long")
    yield bad_positions("sides as +1 and -1", good.with_columns(side=pl.Series([1, -1, 1])), "")
    yield bad_position("a null side", "", side=None)
    yield bad_position("negative quantity", "", quantity=-2.0)
    yield bad_position("zero quantity", "", quantity=0.0)
    yield bad_position("NaN quantity", "", quantity=NAN)
    yield bad_position("zero entry price", "", entry_price=0.0)
    yield bad_positions("neither margin nor leverage", good.drop("leverage"), "")
    yield bad_positions("margin of zero", good.with_columns(margin=pl.Series([100.0, 0.0, 1.0])), "")
    yield bad_positions("margin null where leverage is", good.with_columns(margin=pl.Series([100.0, None, 1.0])), "")
    yield bad_position("leverage zero", "", leverage=0.0)
    yield bad_positions("leverage as text", good.with_columns(leverage=pl.Series(["10x", "5x", "20x"])), "")
    yield bad_position("position_id twice", "", position_id=1)
    yield bad_position("position_id null", "", position_id=None)
    yield bad_positions("position_id as text", good.with_columns(pl.col("position_id").cast(pl.String)), "")
    yield bad_positions("position_id too large", good.with_columns(position_id=pl.Series([1, 2, 2**64 - 1], dtype=pl.UInt64)), "")
    yield bad_positions("weight zero", good.with_columns(weight=pl.Series([1.0, 0.0, 1.0])), "")
    yield bad_positions("exit before the entry", good.with_columns(exit_time=hours(5, 1, 5)), "")
    yield bad_positions("exit at the entry", good.with_columns(exit_time=hours(1, 2, 3)), "")
    yield bad_positions("stop on the winning side", good.with_columns(stop_price=pl.Series([39_000.0, 39_000.0, None])), "")
    yield bad_positions("take-profit on the losing side", good.with_columns(take_profit_price=pl.Series([39_000.0, 39_000.0, None])), "")
    yield bad_positions("NaN stop", good.with_columns(stop_price=pl.Series([39_000.0, NAN, None])), "")
    yield bad_positions("zero stop", good.with_columns(stop_price=pl.Series([39_000.0, 0.0, None])), "")
    yield bad_positions("entry time no zone", good.with_columns(pl.col("entry_time").dt.replace_time_zone(None)), "")
    yield bad_positions("exit time no zone", good.with_columns(exit_time=hours(5, 5, 5).dt.replace_time_zone(None)), "")
    yield bad_positions("own outcome column", good.with_columns(liquidated=pl.lit(False), outcome=pl.lit("x")), "")
    yield bad_positions("column named limit", good.with_columns(limit=pl.lit(3.5)), "", f"{SWEEP} --leverage-limit cap")
    yield bad_positions("column named row", good.with_columns(row=pl.lit(3.5), position_id=pl.lit(1)), "", f"{SWEEP} --leverage-limit cap")
    yield bad_positions("no rows", good.clear(), "")
    yield bad_positions("no rows run", good.clear(), "", "run --bars bars.parquet --positions positions.parquet --venue venue.toml --out out")


def adjustment_kinds() -> Iterator[Kind]:
    good = adjustments()
    yield bad_adjustments("unknown position", put(good, 1, position_id=9), "")
    yield bad_adjustments("before the entry", put(good, 1, time=late(3600)), "")
    yield bad_adjustments("at the entry", put(good, 1, time=late(7200)), "")
    yield bad_adjustments("positive quantity_change", put(good, 1, quantity_change=1.0), "")
    yield bad_adjustments("more than there is", put(good, 1, quantity_change=-3.0), "")
    yield bad_adjustments("all there is", put(good, 1, quantity_change=-2.0), "")
    yield bad_adjustments("neither change", good.drop("margin_change", "quantity_change"), "")
    yield bad_adjustments("NaN", put(good, 1, margin_change=NAN), "")
    yield bad_adjustments("null", put(good, 1, margin_change=None), "")
    yield bad_adjustments("no zone", good.with_columns(pl.col("time").dt.replace_time_zone(None)), "")
    yield Kind("column row in positions", "", ADJUSTED, {"positions.parquet": positions().with_columns(row=1)})
    yield bad_adjustments("column row in adjustments", good.with_columns(row=1), "")
    yield bad_adjustments("column quantity in adjustments", good.with_columns(quantity=1), "")


def venue_kinds() -> Iterator[Kind]:
    yield Kind("unknown venue", "", SWEEP.replace("venue.toml", "ftx"))
    yield Kind("not UTF-8", "", files={"venue.toml": b"\xff\xfe"})
    yield Kind("empty", "", files={"venue.toml": ""})
    yield bad_venue("not TOML", "", ("[rules]", "[rules"))
    yield bad_venue("several", "", ('basis = "mark"', 'basis = "marked"'), ("rate = 0.005,", 'rate = "1 %",'), ("title", "titel"))
    yield bad_venue("unknown rule", "", ("closing_fee_rate", "closing_fees"))
    yield bad_venue("tiers out of order", "", ("floor = 50_000", "floor = 300_000"))
    yield bad_venue("first floor", "", ("floor = 0", "floor = 10"))
    yield bad_venue("rates not increasing", "", ("rate = 0.01,", "rate = 0.005,"))
    yield bad_venue("rate in percent", "", ("rate = 0.004,", "rate = 0.4,"))
    yield bad_venue("rate 0", "", ("rate = 0.004,", "rate = 0,"))
    yield bad_venue("rate nan", "", ("rate = 0.004,", "rate = nan,"))
    yield bad_venue("rate beyond", "", ("rate = 0.004,", "rate = 1.5,"))
    yield bad_venue("discontinuous", "", ("amount = 1_300", "amount = 1_200"))
    yield bad_venue("amount left out", "", (", amount = 50 ", ""))
    yield bad_venue("fee", "", ("closing_fee_rate = 0.0005", "closing_fee_rate = 0.999"))
    yield bad_venue("fee without rate", "", ("closing_fee_rate = 0.0005", ""))
    yield bad_venue("fee nan", "", ("closing_fee_rate = 0.0005", "closing_fee_rate = nan"))
    yield bad_venue("overlap", "", ("from = 2021-06-22", "from = 2021-06-20"))
    yield bad_venue("ends before", "", ("until = 2021-06-22", "until = 2021-03-01"))
    yield bad_venue("same name", "", ('"summer"', '"spring"'))
    yield bad_venue("leverage below 1", "", ("max_leverage = 125", "max_leverage = 0.5"))
    yield bad_venue("leverage nan", "", ("max_leverage = 125", "max_leverage = nan"))
    yield bad_venue("cap below", "", ("cap = 1_000_000", "cap = 100_000"))
    yield bad_venue("cap inf", "", ("cap = 1_000_000", "cap = nan"))
    yield bad_venue("rows missing", "", ("rows = [{ floor = 0, rate = 0.005, max_leverage = 20 }]", ""))
    yield bad_venue("row key", "", ("max_leverage = 125", "leverage = 125"))
    yield bad_venue("date text", "", ("from = 2021-03-18", 'from = "2021-03-18"'))
    yield bad_venue("no tables", "", ("[[contracts.BTCUSDT.tables]]", "[[contracts.BTCUSDT.table]]"), ("[[contracts.BTCUSDT.tables]]", "[[contracts.BTCUSDT.table]]"))
    yield bad_venue("default like unknown", "", ("[contracts.BTCUSDT]", '[default]\nlike = "ETHUSDT"\n[contracts.BTCUSDT]'))
    yield bad_venue("trigger unknown", "", ('basis = "mark"', 'basis = "mark"\ntrigger = "=<"'))
    yield bad_venue("model unknown", "", ('name = "summer"', 'name = "summer"\nmodel = "cross"'))
    yield bad_venue("contract size 0", "", ('name = "summer"', 'name = "summer"\nmodel = "flat"\nsize = "contracts"\ncontract_size = 0'))
    yield bad_venue("amounts flat", "", ('name = "spring"', 'name = "spring"\nmodel = "flat"'))
    yield bad_venue("leverage model no factor", "", ('name = "summer"', 'name = "summer"\nmodel = "leverage"'))
    yield Kind("title of 3", "", files={"venue.toml": VENUE.replace('"Example"', "3")})
    yield Kind("rules not a table", "", files={"venue.toml": 'rules = 3\nname = "a"\ntitle="b"'})
    yield Kind("contracts rows scalars", "", files={"venue.toml": VENUE.replace("{ floor = 0, rate = 0.005, max_leverage = 20 }", "3")})
    yield Kind("no contracts", "", files={"venue.toml": 'name = "a"\ntitle="b"'})
    yield bad_venue("discount", "", ('basis = "mark"', 'basis = "mark"\ntakeover_price="backstop"\ntakeover_discount = 1.5'))
    yield bad_venue("contract rule in default", "", ('[contracts.BTCUSDT]', '[default]\nlike = ["BTCUSDT"]\n[contracts.BTCUSDT]'))


def together_kinds() -> Iterator[Kind]:
    good = positions()
    yield bad_position("unknown symbol", "", symbol="ETHUSDT")
    yield bad_position("entry before the bars", "", entry_time=late(-60))
    yield bad_position("entry after the bars", "", entry_time=late(3600 * 49))
    yield bad_position("leverage beyond the limit", "", leverage=101.0)
    yield bad_positions("margin too small", good.drop("leverage").with_columns(margin=pl.Series([4000.0, 400.0, 4000.0])), "")
    yield bad_position("size beyond the table", "", quantity=26.0)
    yield bad_venue("no tiers in force", "", ("from = 2021-03-18", "from = 2021-05-19"))
    yield bad_venue("contract not listed", "", ("[contracts.BTCUSDT]", "[contracts.XBTUSDT]"), ("[[contracts.BTCUSDT.", "[[contracts.XBTUSDT."), ("[[contracts.BTCUSDT.", "[[contracts.XBTUSDT."))
    yield Kind("stand-in table that is not there", "", f"{SWEEP} --tiers BTCUSDT=winter")
    yield Kind("stand-in for a symbol not there", "", f"{SWEEP} --tiers ETHUSDT=spring")
    yield Kind("trigger last without", "", f"{SWEEP} --trigger-price last")
    yield Kind("trigger index without", "", f"{SWEEP} --trigger-price index")
    yield Kind("fill last_close without", "", f"{SWEEP} --fill-price last_close")
    yield bad_venue("the venue's trigger is last", "", ('basis = "mark"', 'basis = "mark"\ntrigger_price = "last"'))
    yield Kind("a window without the entries", "", f"{SWEEP} --from 2021-05-19")
    yield bad_bars("zero prices of odds in linear", bars().with_columns(pl.col("open", "high", "low", "close") / 1e5).with_columns(low=0.0), "")


def option_kinds() -> Iterator[Kind]:
    yield Kind("intrabar", "", f"{SWEEP} --intrabar worst")
    yield Kind("entry bar", "", f"{SWEEP} --entry-bar yes")
    yield Kind("trigger price", "", f"{SWEEP} --trigger-price spot")
    yield Kind("fill price", "", f"{SWEEP} --fill-price close")
    yield Kind("leverage limit", "", f"{SWEEP} --leverage-limit ignore")
    yield Kind("gap limit", "", f"{SWEEP} --gap-limit=-1")
    yield Kind("gap limit nan", "", f"{SWEEP} --gap-limit nan")
    yield Kind("gap limit huge", "", f"{SWEEP} --gap-limit 1e300")
    yield Kind("gap limit unit", "", f"{SWEEP} --gap-limit 6h")
    yield Kind("threads 0", "", f"{SWEEP} --threads 0")
    yield Kind("tiers", "", f"{SWEEP} --tiers later")
    yield Kind("tiers mixed", "", f"{SWEEP} --tiers nearest --tiers BTCUSDT=spring")
    yield Kind("tiers twice", "", f"{SWEEP} --tiers BTCUSDT=spring --tiers BTCUSDT=summer")
    yield Kind("symbol", "", f"{SWEEP} --symbol ETHUSDT")
    yield Kind("window", "", f"{SWEEP} --from 2022-01-01")
    yield Kind("window reversed", "", f"{SWEEP} --from 2021-05-19 --until 2021-05-18")
    yield Kind("from", "", f"{SWEEP} --from 19.05.2021")
    yield Kind("out is a file", "", SWEEP.replace("--out out", "--out venue.toml"))
    yield Kind("out in a file", "", SWEEP.replace("--out out", "--out venue.toml/out"))
    yield Kind("no out", "", SWEEP.replace("--out out", ""))
    yield Kind("count 0", "", f"{RUN} --count 0")
    yield Kind("count fraction", "", f"{RUN} --count 1e6")
    yield Kind("seed", "", f"{RUN} --seed -1")
    yield Kind("every", "", f"{RUN} --every hourly --count 10")
    yield Kind("chart", "", f"{RUN} --chart ETHUSDT --count 10")
    yield Kind("count and positions", "", f"{RUN} --positions positions.parquet --count 10")
    yield Kind("adjustments alone", "", f"{RUN} --adjustments adjustments.parquet")
    yield Kind("funding alone", "", "run --funding funding.parquet")
    yield Kind("mis-spelt", "", f"{SWEEP} --thread 3")
    yield Kind("no command", "", "")
    yield Kind("price side", "", PRICE.replace("long", "buy"))
    yield Kind("price neg", "", PRICE.replace("40000", "-40000") + " --leverage 5")
    yield Kind("price inf", "", PRICE.replace("40000", "inf") + " --leverage 5")
    yield Kind("price 0", "", PRICE.replace("--quantity 1", "--quantity 0") + " --leverage 5")
    yield Kind("price neither", "", PRICE)
    yield Kind("price beyond", "", PRICE.replace("--quantity 1", "--quantity 1000") + " --leverage 5 --date 2021-05-18")
    yield Kind("price symbol", "", PRICE + " --leverage 5 --symbol ETHUSDT")
    yield Kind("price bars", "", PRICE + " --leverage 5 --bars bars.parquet --at 2021-05-18T03:00")
    yield Kind("price bars none", "", PRICE + " --leverage 5 --bars bars.parquet --at 2020-05-18T03:00")
    yield Kind("price leverage < 1", "", PRICE + " --leverage 0.5 --date 2021-05-18")
