"""Formats of tier files, and how each is recognised: exports of ccxt and freqtrade, raw answers of venues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backtest.errors import DataError
from backtest.rules.tier_import.fields import Found, Names, Tier, figure, grouped, tiers_of

Rows = Sequence[Mapping[str, Any]]

CCXT = Names(
    floor=("minNotional", "notionalFloor", "min"),
    cap=("maxNotional", "notionalCap", "max"),
    rate=("maintenanceMarginRate", "maintenanceMarginRatio", "mmr"),
    leverage=("maxLeverage", "lev"),
    amount=("maintAmt", "cum"),
)


@dataclass(frozen=True)
class Format:
    """A format: how it is recognised, and how it is read."""

    name: str
    confidence: str  #: of the figures: the venue's own answer is official, a tool's copy secondary
    rows: Callable[[Any], Any]  #: the part that holds the tiers; None where a file is of another format
    read: Callable[[Any, str | None], Iterator[Found]]
    day: Callable[[Any], date | None] = lambda _: None  #: the day that a file states

    @property
    def venue(self) -> str | None:
        """The venue whose own answer it is; None for files of tools."""
        return self.name.split()[0].lower() if self.confidence == "official" else None


def read_answer(data: Any, symbol: str | None = None) -> tuple[Format, list[Found], date | None]:
    """Return the format of parsed JSON, its tables, and the day it states.

    Raises
    ------
    DataError
        For JSON of no known format, and figures that are absent or no numbers.
    """
    for known in FORMATS:
        try:
            rows = known.rows(data)
        except (AttributeError, IndexError, KeyError, TypeError):
            continue
        if rows:
            return known, list(known.read(rows, symbol)), known.day(data)
    names = ", ".join(known.name for known in FORMATS)
    raise DataError(f"is of no format that is known here: {names}")


def _with(rows: Any, *keys: str) -> Any:
    """Return rows where the first has these keys."""
    return rows if isinstance(rows, list) and all(key in rows[0] for key in keys) else None


def _tool(data: Any) -> Any:
    """Return tiers by symbol of ccxt or freqtrade; a list without symbols under the empty one."""
    tiers = data["data"] if isinstance(data, dict) and "updated" in data else data
    if isinstance(tiers, list):
        tiers = {str(tiers[0].get("symbol") or ""): tiers}
    first = next(iter(tiers.values()))[0]
    known = any(name in first for name in CCXT.rate) and any(name in first for name in CCXT.cap)
    return tiers if known and "keepMarginRate" not in first else None


def _read_tool(tiers: Any, symbol: str | None) -> Iterator[Found]:
    for own, rows in tiers.items():
        name = own or symbol
        if not name:
            raise DataError("the tiers name no symbol: say which", remedies=(("symbol", "SYMBOL"),))
        flat = [{**row, **_amount(row.get("info"))} for row in rows]
        found = tiers_of(name, flat, CCXT)
        yield Found(name, found, "marginal" if any(tier.amount is not None for tier in found) else None)


def _amount(info: Any) -> dict[str, Any]:
    """Return the maintenance amount that a venue's own row states."""
    names = ("cum", "mmDeduction", "deduction")
    found = [info[name] for name in names if info.get(name) not in (None, "")] if isinstance(info, dict) else []
    return {"cum": found[0]} if found else {}


def _binance(data: Any) -> Any:
    listed = data if isinstance(data, list) else [data]
    return listed if "brackets" in listed[0] else None


def _read_binance(listed: Rows, _symbol: str | None) -> Iterator[Found]:
    for entry in listed:
        symbol, brackets = str(entry["symbol"]), entry["brackets"]
        if float(entry.get("notionalCoef") or 1.0) != 1.0:
            raise DataError(
                f"the brackets of {symbol} are widened by a factor of {entry['notionalCoef']} for one user "
                "(notionalCoef): export those of an account without it"
            )
        if any("qtyCap" in row for row in brackets):
            raise DataError(f"the brackets of {symbol} count coins (COIN-M), for which no venue is carried")
        names = Names(("notionalCap",), ("maintMarginRatio",), ("initialLeverage",), ("notionalFloor",), ("cum",))
        yield Found(symbol, tiers_of(symbol, brackets, names), "marginal")


BYBIT = Names(
    cap=("riskLimitValue", "limit"),
    rate=("maintenanceMargin", "maintainMargin"),
    leverage=("maxLeverage",),
    amount=("mmDeduction",),
)


KUCOIN = Names(("maxRiskLimit",), ("maintainMargin",), ("maxLeverage",), ("minRiskLimit",))


def _read_bybit(rows: Rows, symbol: str | None) -> Iterator[Found]:
    """Yield tables whose amounts are stated as marginal; older answers had none, and flat tiers."""
    for own, tiers in grouped(rows, "symbol", symbol).items():
        found = tiers_of(own, tiers, BYBIT)
        marginal = any(tier.amount for tier in found)
        filled = tuple(tier._replace(amount=(tier.amount or 0.0) if marginal else None) for tier in found)
        yield Found(own, filled, "marginal" if marginal else "flat")


def _flat_rows(names: Names, key: str, model: str | None, size: str = "notional") -> Any:
    """Return a reader of rows that each name their symbol."""

    def read(rows: Rows, symbol: str | None) -> Iterator[Found]:
        for own, tiers in grouped(rows, key, symbol).items():
            yield Found(own, tiers_of(own, tiers, names), model, size)

    return read


def _read_okx(rows: Rows, symbol: str | None) -> Iterator[Found]:
    names = Names(("maxSz",), ("mmr",), ("maxLever",), ("minSz",))
    named = [{**row, "own": row.get("instFamily") or row.get("uly") or row.get("instId")} for row in rows]
    return _flat_rows(names, "own", "flat", "contracts")(named, symbol)  # type: ignore[no-any-return]


def _hyperliquid(data: Any) -> Any:
    meta = data[0] if isinstance(data, list) else data
    return meta if "maxLeverage" in meta["universe"][0] else None


def _read_hyperliquid(meta: Any, _symbol: str | None) -> Iterator[Found]:
    """Yield a marginal table a coin: the rate of a tier is half of one over its highest leverage."""
    tables = {number: table["marginTiers"] for number, table in meta.get("marginTables", [])}
    for coin in meta["universe"]:
        name, where = str(coin["name"]), f"the universe's {coin['name']}"
        if coin.get("isDelisted"):
            continue
        whole = [{"lowerBound": 0, "maxLeverage": coin.get("maxLeverage")}]
        rows = tables.get(coin.get("marginTableId"), whole)
        floors = [figure(row, ("lowerBound",), where) for row in rows]
        limits = [figure(row, ("maxLeverage",), where) for row in rows]
        if min(limits) < 1:
            raise DataError(f"{where}: maxLeverage must be at least 1, is {min(limits):g}")
        ends = [*floors[1:], float("inf")]
        tiers = [
            Tier(*each, None) for each in zip(floors, ends, (0.5 / own for own in limits), limits, strict=True)
        ]
        yield Found(name, tuple(tiers), "marginal")


def _dydx(data: Any) -> Any:
    markets = data["markets"]
    return markets if "maintenanceMarginFraction" in next(iter(markets.values())) else None


def _read_dydx(markets: Any, _symbol: str | None) -> Iterator[Found]:
    for name, market in markets.items():
        if market.get("status") == "FINAL_SETTLEMENT":
            continue
        where = f"market {name}"
        rate = figure(market, ("maintenanceMarginFraction",), where)
        initial = figure(market, ("initialMarginFraction",), where)
        if not initial > 0:
            raise DataError(f"{where}: initialMarginFraction must be above zero, is {initial:g}")
        yield Found(name, (Tier(0.0, float("inf"), rate, 1 / initial, None),), "marginal")


def _milliseconds(*keys: str) -> Callable[[Any], date | None]:
    """Return a reader of the day that an answer's time lies on."""

    def day(data: Any) -> date | None:
        found = next((data[key] for key in keys if data.get(key)), None)
        return None if found is None else datetime.fromtimestamp(int(found) / 1000, UTC).date()

    return day


def _updated(data: Any) -> date | None:
    """Return the date of freqtrade's cache."""
    if not (isinstance(data, dict) and "updated" in data):
        return None
    try:
        return datetime.fromisoformat(str(data["updated"])).date()
    except ValueError:
        return None


FORMATS = (
    Format("Binance leverageBracket", "official", _binance, _read_binance),
    Format(
        "Bybit risk-limit",
        "official",
        lambda data: _with(data["result"]["list"], BYBIT.cap[0]) or _with(data["result"]["list"], BYBIT.cap[1]),
        _read_bybit,
        _milliseconds("time"),
    ),
    Format("OKX position-tiers", "official", lambda data: _with(data["data"], "minSz", "mmr"), _read_okx),
    Format(
        "Gate risk_limit_tiers",
        "official",
        lambda data: _with(data, "risk_limit", "maintenance_rate"),
        _flat_rows(
            Names(("risk_limit",), ("maintenance_rate",), ("leverage_max",), amount=("deduction",)),
            "contract",
            "marginal",
        ),
    ),
    Format(
        "Bitget query-position-lever",
        "official",
        lambda data: _with(data["data"], "startUnit", "keepMarginRate"),
        _flat_rows(Names(("endUnit",), ("keepMarginRate",), ("leverage",), ("startUnit",)), "symbol", None),
        _milliseconds("requestTime"),
    ),
    Format(
        "KuCoin risk-limit",
        "official",
        lambda data: _with(data["data"], "maxRiskLimit", "maintainMargin"),
        _flat_rows(KUCOIN, "symbol", None),
    ),
    Format("Hyperliquid meta", "official", _hyperliquid, _read_hyperliquid),
    Format(
        "dYdX perpetualMarkets",
        "official",
        _dydx,
        _read_dydx,
    ),
    Format("ccxt or freqtrade leverage tiers", "secondary", _tool, _read_tool, _updated),
)
