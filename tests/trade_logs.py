"""Look-alikes of the trade lists that tools and venues write: two invented trades, in every format.

A long of 0.5 BTC from 40,000 (19 May 2021 10:00) to 38,500 (13:00), a short of 0.3 BTC from 39,000 (14:00) to
38,000 (16:00).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

DAY = datetime(2021, 5, 19, tzinfo=UTC)


def at(hour: float) -> datetime:
    """Return an hour of the day."""
    return DAY + timedelta(hours=hour)


def ms(hour: float) -> int:
    """Return an hour of the day in milliseconds since 1970."""
    return int(at(hour).timestamp() * 1000)


#: side, quantity, entry hour, entry price, exit hour, exit price, profit before fees
TRADES = (("long", 0.5, 10, 40_000.0, 13, 38_500.0, -750.0), ("short", 0.3, 14, 39_000.0, 16, 38_000.0, 300.0))

#: hour, side, price, quantity, closed profit, position before
FILLS = (
    (10, "buy", 40_000.0, 0.5, 0.0, 0.0),
    (13, "sell", 38_500.0, 0.5, -750.0, 0.5),
    (14, "sell", 39_000.0, 0.3, 0.0, 0.0),
    (16, "buy", 38_000.0, 0.3, 300.0, -0.3),
)


def freqtrade(folder: Path) -> Path:
    trades = [
        {
            "pair": "BTC/USDT:USDT",
            "stake_amount": quantity * entry / 10,
            "amount": quantity,
            "open_date": f"{at(opened):%Y-%m-%d %H:%M:%S}+00:00",
            "close_date": f"{at(closed):%Y-%m-%d %H:%M:%S}+00:00",
            "open_rate": entry,
            "close_rate": exit_,
            "fee_open": 0.0005,
            "fee_close": 0.0005,
            "profit_abs": pnl - 0.0005 * quantity * (entry + exit_),
            "exit_reason": "exit_signal",
            "initial_stop_loss_abs": entry * (0.9 if side == "long" else 1.1),
            "is_open": False,
            "leverage": 10.0,
            "is_short": side == "short",
            "open_timestamp": ms(opened),
            "close_timestamp": ms(closed),
            "orders": [],
            "funding_fees": 0.0,
        }
        for side, quantity, opened, entry, closed, exit_, pnl in TRADES
    ]
    return written(folder / "result.json", {"strategy": {"Mine": {"timeframe": "1h", "trades": trades}}})


def vectorbt(folder: Path) -> Path:
    rows = [
        {
            "Exit Trade Id": number,
            "Column": "BTCUSDT",
            "Size": quantity,
            "Entry Timestamp": f"{at(opened - 1):%Y-%m-%d %H:%M:%S}",  # fills at the close of the hour before
            "Avg Entry Price": entry,
            "Entry Fees": 1.0,
            "Exit Timestamp": f"{at(closed - 1):%Y-%m-%d %H:%M:%S}",
            "Avg Exit Price": exit_,
            "Exit Fees": 1.0,
            "PnL": pnl - 2.0,
            "Return": 0.0,
            "Direction": side.capitalize(),
            "Status": "Closed",
            "Position Id": number,
        }
        for number, (side, quantity, opened, entry, closed, exit_, pnl) in enumerate(TRADES)
    ]
    return csv(folder / "vectorbt.csv", rows)


def backtesting_py(folder: Path) -> Path:
    rows = [
        {
            "Size": quantity if side == "long" else -quantity,
            "EntryBar": opened,
            "ExitBar": closed,
            "EntryPrice": entry,
            "ExitPrice": exit_,
            "SL": None,
            "TP": None,
            "PnL": pnl,
            "Commission": 0.0,
            "ReturnPct": 0.0,
            "EntryTime": f"{at(opened):%Y-%m-%d %H:%M:%S}",
            "ExitTime": f"{at(closed):%Y-%m-%d %H:%M:%S}",
            "Duration": "0 days 03:00:00",
            "Tag": None,
        }
        for side, quantity, opened, entry, closed, exit_, pnl in TRADES
    ]
    return csv(folder / "backtesting.csv", rows)


def nautilus(folder: Path) -> Path:
    rows = [
        {
            "position_id": f"P-{number}",
            "instrument_id": "BTCUSDT-PERP.BINANCE",
            "entry": "BUY" if side == "long" else "SELL",
            "side": "FLAT",
            "peak_qty": f"{quantity:.3f}",
            "ts_opened": f"{at(opened):%Y-%m-%dT%H:%M:%S.000000000}Z",
            "ts_closed": f"{at(closed):%Y-%m-%dT%H:%M:%S.000000000}Z",
            "duration_ns": 0,
            "avg_px_open": entry,
            "avg_px_close": exit_,
            "commissions": "['1.5 USDT']",
            "realized_return": 0.0,
            "realized_pnl": f"{pnl - 1.5:.8f} USDT",
        }
        for number, (side, quantity, opened, entry, closed, exit_, pnl) in enumerate(TRADES)
    ]
    return csv(folder / "positions_report.csv", rows)


def lean(folder: Path) -> Path:
    rows = [
        {
            "id": str(number),
            "symbols": [{"value": "BTCUSDT", "id": "BTCUSDT 18N"}],
            "entryTime": f"{at(opened):%Y-%m-%dT%H:%M:%S}Z",
            "entryPrice": entry,
            "direction": 0 if side == "long" else 1,
            "quantity": quantity,
            "exitTime": f"{at(closed):%Y-%m-%dT%H:%M:%S}Z",
            "exitPrice": exit_,
            "profitLoss": pnl,
            "totalFees": 1.0,
            "mae": 0.0,
            "mfe": 0.0,
        }
        for number, (side, quantity, opened, entry, closed, exit_, pnl) in enumerate(TRADES)
    ]
    return written(folder / "lean.json", {"totalPerformance": {"closedTrades": rows}})


def ccxt(folder: Path) -> Path:
    rows = [
        {
            "id": str(number),
            "order": f"o{number}",
            "timestamp": ms(hour),
            "datetime": f"{at(hour):%Y-%m-%dT%H:%M:%S.000}Z",
            "symbol": "BTC/USDT:USDT",
            "type": None,
            "side": side,
            "takerOrMaker": "taker",
            "price": price,
            "amount": quantity,
            "cost": price * quantity,
            "fee": {"cost": 1.0, "currency": "USDT"},
            "info": {"id": number},
        }
        for number, (hour, side, price, quantity, _, _) in enumerate(FILLS)
    ]
    return written(folder / "ccxt.json", rows)


def binance_trades(folder: Path) -> Path:
    lines = ["Uid,Time,Symbol,Side,Price,Quantity,Amount,Fee,Realized Profit,Buyer,Maker,Trade ID,Order ID"]
    lines += [
        f'1,{at(hour):%Y-%m-%d %H:%M:%S},BTCUSDT,{side.upper()},"{price:,.2f}",{quantity},{price * quantity},'
        f"-1.0USDT,{pnl},{side == 'buy'},false,{number},{number}"
        for number, (hour, side, price, quantity, pnl, _) in enumerate(FILLS)
    ]
    path = folder / "binance_trades.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    return path


def binance_api(folder: Path) -> Path:
    rows = [
        {
            "symbol": "BTCUSDT",
            "id": number,
            "orderId": number,
            "side": side.upper(),
            "price": f"{price:.2f}",
            "qty": f"{quantity:.3f}",
            "realizedPnl": f"{pnl:.8f}",
            "quoteQty": f"{price * quantity:.4f}",
            "commission": "1.0",
            "commissionAsset": "USDT",
            "time": ms(hour),
            "positionSide": "BOTH",
            "maker": False,
            "buyer": side == "buy",
        }
        for number, (hour, side, price, quantity, pnl, _) in enumerate(FILLS)
    ]
    return written(folder / "user_trades.json", rows)


def binance_positions(folder: Path) -> Path:
    rows = [
        {
            "Symbol": "BTCUSDT",
            "Margin Mode": "Isolated",
            "Position Side": side.capitalize(),
            "Entry Price": f"{entry:,.2f}",
            "Avg. Close Price": f"{exit_:,.2f}",
            "Max Open Interest": f"{quantity} BTC",
            "Closed Vol.": f"{quantity} BTC",
            "Closing PNL": f"{pnl} USDT",
            "Opened": f"{at(opened):%Y-%m-%d %H:%M:%S}",
            "Closed": f"{at(closed):%Y-%m-%d %H:%M:%S}",
            "Status": "All Closed",
        }
        for side, quantity, opened, entry, closed, exit_, pnl in TRADES
    ]
    return csv(folder / "binance_positions.csv", rows)


def bybit_executions(folder: Path) -> Path:
    rows = [
        {
            "symbol": "BTCUSDT",
            "side": side.capitalize(),
            "execPrice": f"{price}",
            "execQty": f"{quantity}",
            "execTime": str(ms(hour)),
            "execType": "Trade",
            "execFee": "1.0",
            "closedSize": f"{abs(before)}",
        }
        for hour, side, price, quantity, _, before in reversed(FILLS)
    ]
    return written(folder / "executions.json", {"retCode": 0, "result": {"list": rows}})


def okx(folder: Path) -> Path:
    rows = [
        {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "mgnMode": "isolated",
            "type": "2",
            "cTime": str(ms(opened)),
            "uTime": str(ms(closed)),
            "openAvgPx": f"{entry}",
            "closeAvgPx": f"{exit_}",
            "openMaxPos": f"{round(quantity / 0.01)}",
            "closeTotalPos": f"{round(quantity / 0.01)}",
            "realizedPnl": f"{pnl - 1.0}",
            "fee": "-1.0",
            "fundingFee": "0",
            "pnl": f"{pnl}",
            "posSide": "net",
            "lever": "10.0",
            "direction": side,
        }
        for side, quantity, opened, entry, closed, exit_, pnl in TRADES
    ]
    return written(folder / "positions_history.json", {"code": "0", "data": rows})


def hyperliquid(folder: Path) -> Path:
    rows = [
        {
            "closedPnl": f"{pnl}",
            "coin": "BTC",
            "crossed": True,
            "dir": "Open Long",
            "hash": "0x0",
            "oid": number,
            "px": f"{price}",
            "side": "B" if side == "buy" else "A",
            "startPosition": f"{before}",
            "sz": f"{quantity}",
            "time": ms(hour),
            "fee": "1.0",
            "tid": number,
        }
        for number, (hour, side, price, quantity, pnl, before) in enumerate(FILLS)
    ]
    return written(folder / "user_fills.json", rows[::-1])


def hyperliquid_csv(folder: Path) -> Path:
    words = ("Open Long", "Close Long", "Open Short", "Close Short")
    rows = [
        {
            "time": f"{at(hour):%d/%m/%Y - %H:%M:%S}".replace(" - ", " "),
            "coin": "BTC",
            "dir": word,
            "px": price,
            "sz": quantity,
            "ntl": price * quantity,
            "fee": 1.0,
            "closedPnl": pnl,
        }
        for word, (hour, _, price, quantity, pnl, _) in zip(words, FILLS, strict=True)
    ]
    return csv(folder / "hyperliquid.csv", rows)


def plain_trades(folder: Path) -> Path:
    rows = [
        {
            "symbol": "BTCUSDT",
            "side": side,
            "entry_time": f"{at(opened):%Y-%m-%dT%H:%M:%S}Z",
            "entry_price": entry,
            "quantity": quantity,
            "exit_time": f"{at(closed):%Y-%m-%dT%H:%M:%S}Z",
            "exit_price": exit_,
        }
        for side, quantity, opened, entry, closed, exit_, _ in TRADES
    ]
    return csv(folder / "trades.csv", rows)


def plain_fills(folder: Path) -> Path:
    rows = [
        {
            "symbol": "BTC/USDT",
            "time": f"{at(hour):%Y-%m-%dT%H:%M:%S}Z",
            "side": side,
            "price": price,
            "quantity": quantity,
        }
        for hour, side, price, quantity, _, _ in FILLS
    ]
    return csv(folder / "fills.csv", rows)


#: Every format that can be answered, with what it truly lacks.
LOGS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "freqtrade": (freqtrade, {}),
    "vectorbt": (vectorbt, {}),
    "backtesting.py": (backtesting_py, {"symbol": "BTCUSDT"}),
    "nautilus": (nautilus, {}),
    "lean": (lean, {}),
    "ccxt": (ccxt, {}),
    "binance-trades": (binance_trades, {"timezone": "UTC"}),
    "binance-api": (binance_api, {}),
    "binance-positions": (binance_positions, {"timezone": "UTC"}),
    "bybit-executions": (bybit_executions, {}),
    "okx": (okx, {}),
    "hyperliquid": (hyperliquid, {}),
    "hyperliquid-csv": (hyperliquid_csv, {"timezone": "UTC"}),
    "trades": (plain_trades, {}),
    "fills": (plain_fills, {}),
}


def written(path: Path, content: Any) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(content))
    return path


def csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a CSV file."""
    pl.DataFrame(rows).write_csv(path)
    return path
