"""Look-alikes of tier files: what tools write and venues answer, with the tables they stand for."""

from __future__ import annotations

from typing import Any

#: floor, cap, rate, highest leverage, amount
TIERS = [
    (0, 50_000, 0.004, 125, 0.0),
    (50_000, 600_000, 0.005, 100, 50.0),
    (600_000, 3_000_000, 0.01, 50, 3_050.0),
    (3_000_000, 9_000_000, 0.025, 20, 48_050.0),
]


def ccxt(symbol: str = "BTC/USDT:USDT", *, amounts: bool = True) -> list[dict[str, Any]]:
    """Return tiers as ccxt's ``fetch_market_leverage_tiers`` does."""
    return [
        {
            "tier": number + 1.0,
            "symbol": symbol,
            "currency": "USDT",
            "minNotional": float(floor),
            "maxNotional": float(cap),
            "maintenanceMarginRate": rate,
            "maxLeverage": float(leverage),
            "info": {"bracket": str(number + 1), **({"cum": str(amount)} if amounts else {})},
        }
        for number, (floor, cap, rate, leverage, amount) in enumerate(TIERS)
    ]


def older_ccxt() -> list[dict[str, Any]]:
    """Return tiers as ccxt did before 2022-08, without symbols."""
    names = {
        "minNotional": "notionalFloor",
        "maxNotional": "notionalCap",
        "maintenanceMarginRate": "maintenanceMarginRatio",
    }
    return [{names.get(name, name): value for name, value in row.items() if name != "symbol"} for row in ccxt()]


def freqtrade() -> dict[str, Any]:
    """Return tiers as freqtrade keeps them."""
    rows = [
        {
            "minNotional": floor,
            "maxNotional": cap,
            "maintenanceMarginRate": rate,
            "maxLeverage": leverage,
            "maintAmt": amount,
        }
        for floor, cap, rate, leverage, amount in TIERS
    ]
    return {"updated": "2026-11-20 10:02:53.500000+00:00", "data": {"BTC/USDT:USDT": rows}}


def older_freqtrade() -> dict[str, Any]:
    """Return tiers as freqtrade kept them first."""
    rows = [
        {"min": floor, "max": cap, "mmr": rate, "lev": leverage, "maintAmt": amount}
        for floor, cap, rate, leverage, amount in TIERS
    ]
    return {"BTC/USDT": rows}


def binance() -> list[dict[str, Any]]:
    """Return brackets as ``leverageBracket`` does."""
    rows = [
        {
            "bracket": number + 1,
            "initialLeverage": leverage,
            "notionalCap": cap,
            "notionalFloor": floor,
            "maintMarginRatio": rate,
            "cum": amount,
        }
        for number, (floor, cap, rate, leverage, amount) in enumerate(TIERS)
    ]
    return [{"symbol": "BTCUSDT", "notionalCoef": 1, "brackets": rows}]


def bybit() -> dict[str, Any]:
    """Return limits as ``v5/market/risk-limit`` does."""
    rows = [
        {
            "id": number + 1,
            "symbol": "BTCUSDT",
            "riskLimitValue": str(cap),
            "maintenanceMargin": str(rate),
            "initialMargin": str(1 / leverage),
            "isLowestRisk": int(number == 0),
            "maxLeverage": f"{leverage}.00",
            "mmDeduction": str(amount) if amount else "",
        }
        for number, (_, cap, rate, leverage, amount) in enumerate(TIERS)
    ]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows}, "time": 1764547200000}


def okx() -> dict[str, Any]:
    """Return tiers as ``public/position-tiers`` does; sizes are contracts."""
    rows = [
        {
            "imr": str(1 / leverage),
            "instFamily": "BTC-USDT",
            "instId": "",
            "maxLever": str(leverage),
            "maxSz": str(cap / 1_000),
            "minSz": str(floor / 1_000 + (0.01 if floor else 0)),
            "mmr": str(rate),
            "tier": str(number + 1),
            "uly": "BTC-USDT",
        }
        for number, (floor, cap, rate, leverage, _) in enumerate(TIERS)
    ]
    return {"code": "0", "data": rows, "msg": ""}


def gate() -> list[dict[str, Any]]:
    """Return tiers as ``futures/usdt/risk_limit_tiers`` does."""
    return [
        {
            "tier": number + 1,
            "risk_limit": str(cap),
            "initial_rate": str(1 / leverage),
            "maintenance_rate": str(rate),
            "leverage_max": str(leverage),
            "contract": "BTC_USDT",
            "deduction": str(amount),
        }
        for number, (_, cap, rate, leverage, amount) in enumerate(TIERS)
    ]


def bitget() -> dict[str, Any]:
    """Return tiers as ``mix/market/query-position-lever`` does."""
    rows = [
        {
            "symbol": "BTCUSDT",
            "level": str(number + 1),
            "startUnit": str(floor),
            "endUnit": str(cap),
            "leverage": str(leverage),
            "keepMarginRate": str(rate),
        }
        for number, (floor, cap, rate, leverage, _) in enumerate(TIERS)
    ]
    return {"code": "00000", "msg": "success", "requestTime": 1764547200000, "data": rows}


def kucoin() -> dict[str, Any]:
    """Return limits as ``contracts/risk-limit/XBTUSDTM`` does."""
    rows = [
        {
            "symbol": "XBTUSDTM",
            "level": number + 1,
            "maxRiskLimit": cap,
            "minRiskLimit": floor,
            "maxLeverage": leverage,
            "initialMargin": 1 / leverage,
            "maintainMargin": rate,
        }
        for number, (floor, cap, rate, leverage, _) in enumerate(TIERS)
    ]
    return {"code": "200000", "data": rows}


def hyperliquid() -> dict[str, Any]:
    """Return the meta of the perpetuals."""
    return {
        "universe": [
            {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
            {"szDecimals": 1, "name": "XRP", "maxLeverage": 20, "marginTableId": 20},
            {"szDecimals": 1, "name": "FTM", "maxLeverage": 10, "marginTableId": 10, "isDelisted": True},
        ],
        "marginTables": [
            [
                56,
                {
                    "description": "tiered 40x",
                    "marginTiers": [
                        {"lowerBound": "0.0", "maxLeverage": 40},
                        {"lowerBound": "150000000.0", "maxLeverage": 20},
                    ],
                },
            ],
        ],
    }


def dydx() -> dict[str, Any]:
    """Return the indexer's markets."""
    market = {
        "ticker": "BTC-USD",
        "status": "ACTIVE",
        "initialMarginFraction": "0.02",
        "maintenanceMarginFraction": "0.012",
        "openInterestLowerCap": "0",
    }
    return {"markets": {"BTC-USD": market}}
