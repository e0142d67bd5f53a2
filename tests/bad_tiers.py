"""Every kind of bad input to the commands of tier tables: what is wrong, the words, and the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import tier_answers

IMPORT = "tiers import answer.json --venue binance --date 2026-11-20"
Mistake = tuple[str, str, dict[str, Any]]


def tier_file_kinds() -> Iterator[Mistake]:
    """Yield kinds that only tiers can have."""
    good = json.dumps(tier_answers.binance())
    yield "tiers from a file that does not exist", IMPORT, {}
    yield "tiers that are no JSON", IMPORT, {"answer.json": "symbol,rate\n"}
    yield "JSON that holds no tiers", IMPORT, {"answer.json": '{"symbols": []}'}
    yield "tiers of an unknown day", IMPORT.replace("--date 2026-11-20", ""), {"answer.json": good}
    yield "tiers of a day in the future", IMPORT.replace("2026", "2999"), {"answer.json": good}
    yield "another venue's tiers", IMPORT.replace("binance", "bybit"), {"answer.json": good}
    yield "tiers without a symbol", IMPORT, {"answer.json": json.dumps(tier_answers.older_ccxt())}
    yield (
        "tiers that count contracts of an unknown size",
        IMPORT.replace("binance", "okx"),
        {"answer.json": json.dumps(tier_answers.okx())},
    )
    unstated = json.dumps(tier_answers.ccxt("ETH/USDT:USDT", amounts=False))
    yield "tiers that may be marginal or flat", IMPORT.replace("binance", "bybit"), {"answer.json": unstated}
    yield _changed("a rate that is no number", lambda rows: rows[1].update(maintMarginRatio="high"))
    yield _changed("a tier without a rate", lambda rows: rows[1].pop("maintMarginRatio"))
    yield _changed("a tier that is left out", lambda rows: rows.pop(1))
    yield _changed("rates that fall", lambda rows: rows[2].update(maintMarginRatio=0.001))
    yield _changed("amounts that do not go on", lambda rows: rows[2].update(cum=7))
    yield _changed("leverage that rises with the size", lambda rows: rows[2].update(initialLeverage=124))
    yield (
        "tiers that contradict those carried",
        IMPORT.replace("2026-11-20", "2026-01-15"),
        {"answer.json": good},
    )
    yield "a size of contracts that is no number", f"{IMPORT} --contract-size BTCUSDT=much", {"answer.json": good}
    yield "tiers of a symbol that is not listed", "tiers show NOCOIN", {}
    yield "tiers at a time between two tables", "tiers show XRPUSDT --at 2024-08-20", {}
    yield "tiers asked of a venue that needs a key", "fetch tiers binance --symbol BTCUSDT", {}
    yield "a venue file that is there already", "venues new venue.toml", {}


def _changed(wrong: str, change: Callable[[Any], Any]) -> Mistake:
    """Return a kind of brackets with one mistake."""
    answer = tier_answers.binance()
    change(answer[0]["brackets"])
    return wrong, IMPORT, {"answer.json": json.dumps(answer)}
