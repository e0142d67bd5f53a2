"""Hyperliquid's account states as books with accounts, its fills as recorded liquidations; look-alikes alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from backtest import Market, Venue, account_prices, sweep, sweep_accounts, trades
from backtest.errors import DataError
from backtest.study.levels.evaluation import recorded_events

MOMENT = datetime(2026, 10, 1, 12, tzinfo=UTC)
STAMP = int(MOMENT.timestamp() * 1000)


def position(
    coin: str, size: float, entry: float, mark: float, mode: str = "cross", **more: Any
) -> dict[str, Any]:
    """Return a position as a state writes it: numbers as text."""
    leverage: dict[str, Any] = {"type": mode, "value": 10}
    if mode == "isolated":
        leverage["rawUsd"] = str(more.pop("margin") - size * entry)
    held = {
        "coin": coin, "szi": str(size), "entryPx": str(entry), "positionValue": str(abs(size) * mark),
        "unrealizedPnl": str(size * (mark - entry)), "leverage": leverage, "liquidationPx": None,
        "marginUsed": "0", "maxLeverage": 40, "returnOnEquity": "0",
        "cumFunding": {"allTime": "0", "sinceOpen": "0", "sinceChange": "0"},
    }  # fmt: skip
    return {"type": "oneWay", "position": held | more}


def state(*held: dict[str, Any], cross_value: float = 5_000.0, time: Any = STAMP) -> dict[str, Any]:
    summary = {"accountValue": str(cross_value), "totalNtlPos": "0", "totalRawUsd": "0", "totalMarginUsed": "0"}
    return {
        "assetPositions": list(held), "crossMarginSummary": summary, "marginSummary": summary,
        "crossMaintenanceMarginUsed": "0", "withdrawable": "0", "time": time,
    }  # fmt: skip


STATES = {
    "0xaa": state(position("BTC", 1.0, 40_000.0, 41_000.0), position("ETH", -10.0, 2_000.0, 2_100.0)),
    "0xbb": state(position("BTC", -0.5, 42_000.0, 41_000.0, "isolated", margin=2_500.0), cross_value=100.0),
    "0xcc": state(cross_value=7.0),
}


def prices(falls_to: float) -> Market:
    """Return hours of BTC and ETH after the moment of the states, in which BTC falls."""
    frames = []
    for coin, first, last in (("BTC", 41_000.0, falls_to), ("ETH", 2_100.0, 2_100.0)):
        close = [first + (last - first) * hour / 10 for hour in range(-2, 11)]
        opening = [close[0], *close[:-1]]
        frames.append(
            pl.DataFrame(
                {
                    "symbol": coin,
                    "time": [MOMENT + timedelta(hours=hour) for hour in range(-2, 11)],
                    "open": opening, "close": close,
                    "high": list(map(max, opening, close)), "low": list(map(min, opening, close)),
                }
            )
        )  # fmt: skip
    return Market(pl.concat(frames))


def shapes(tmp_path: Path) -> list[Any]:
    """Return the same states in every form."""
    listed = [{"user": user, "state": own} for user, own in STATES.items()]
    beside = [{"address": user} | own for user, own in STATES.items()]
    (tmp_path / "states.json").write_text(json.dumps(STATES))
    (tmp_path / "states.jsonl").write_text("\n".join(json.dumps(one) for one in listed))
    return [STATES, listed, beside, tmp_path / "states.json", str(tmp_path / "states.jsonl")]


def test_states__are_read_in_every_form(tmp_path: Path) -> None:
    expected = trades.read_states(STATES)
    for given in shapes(tmp_path):
        found = trades.read_states(given)
        assert found.positions.equals(expected.positions)
        assert found.accounts.accounts.equals(expected.accounts.accounts)
        assert found.book.positions.equals(expected.book.positions)


def test_wallet__is_the_account_value_less_the_open_results_of_cross_positions() -> None:
    found = trades.read_states(STATES)
    assert found.accounts.accounts.rows() == [("0xaa", 5_000.0 - 1_000.0 + 1_000.0)]
    assert found.accounts.legs.select("leg_id", "side", "quantity", "entry_price").rows() == [
        ("0xaa BTC", "long", 1.0, 40_000.0),
        ("0xaa ETH", "short", 10.0, 2_000.0),
    ]
    assert found.book.positions.select("position_id", "side", "quantity", "margin", "entry_time").rows() == [
        ("0xbb BTC", "short", 0.5, 2_500.0, MOMENT)
    ]
    assert "3 open positions of 3 account states" in found.book.assumptions[0]


def test_accounts_and_positions__are_swept_from_the_moment_of_their_states() -> None:
    found, venue = trades.read_states(STATES), Venue.load("hyperliquid")
    swept, legs = sweep_accounts(found.accounts, prices(30_000.0), venue, tiers="nearest")
    assert swept["liquidated"].to_list() == [True]
    assert swept["outcome_time"][0] > MOMENT
    calm, _ = sweep_accounts(found.accounts, prices(40_800.0), venue, tiers="nearest")
    assert calm["liquidated"].to_list() == [False]
    assert legs.height == 2
    # the isolated short: equity is its maintenance margin at (entry + margin / size) / (1 + 0.0125)
    outcome = sweep(found.book, prices(41_100.0), venue, tiers="nearest").row(0, named=True)
    assert outcome["liquidation_price"] == pytest.approx((42_000 + 2_500 / 0.5) / 1.0125)
    assert not outcome["liquidated"]


def test_equity_of_an_account__is_the_value_its_state_gives() -> None:
    found = trades.read_states(STATES)
    prices = {"BTC": 41_000.0, "ETH": 2_100.0}
    shown = account_prices(found.accounts, "hyperliquid", prices, tiers="nearest")
    assert shown.accounts["equity"].to_list() == pytest.approx([5_000.0])


BAD_STATES: dict[str, Any] = {
    "entry 0 is no account state: it has no list assetPositions": [{"user": "0xaa"}],
    "must have its time, in milliseconds, has None": {
        "0xaa": state(STATES["0xaa"]["assetPositions"][0], time=None)
    },
    "must have a number accountValue, has None": {"0xaa": {**STATES["0xaa"], "crossMarginSummary": {}}},
    "holds no open position in 1 states": {"0xcc": STATES["0xcc"]},
    "the state of '0xaa' is given twice": [{"user": "0xaa", "state": STATES["0xaa"]}] * 2,
    "has a coin twice": {"0xaa": state(*[STATES["0xaa"]["assetPositions"][0]] * 2)},
    "must have a number unrealizedPnl, has 'x'": {"0xaa": state(position("BTC", 1, 2, 2, unrealizedPnl="x"))},
    "the state of 0xaa: ": {"0xaa": state(position("BTC", 1, 0, 2))},
}


@pytest.mark.parametrize("said", BAD_STATES)
def test_bad_states__are_refused_in_one_line(said: str) -> None:
    with pytest.raises(DataError) as caught:
        trades.read_states(BAD_STATES[said])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files_of_states__are_refused(tmp_path: Path) -> None:
    for text, said in (
        ("{", "cannot be read as JSON"),
        ("3", "is no account state"),
        ("", "holds no open position in 0"),
    ):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(DataError, match=said):
            trades.read_states(tmp_path / "s.json")
    with pytest.raises(DataError, match="No such file"):
        trades.read_states(tmp_path / "none.json")


def fill(user: str, liquidated: str | None, side: str = "A", **more: Any) -> list[Any]:
    own = {
        "coin": "BTC", "px": "40000.0", "sz": "0.5", "side": side, "time": STAMP, "startPosition": "0.5",
        "dir": "Close Long", "closedPnl": "-1.0", "hash": "0x0", "oid": 1, "crossed": True, "fee": "1", "tid": 1,
    }  # fmt: skip
    about = (
        {}
        if liquidated is None
        else {"liquidation": {"liquidatedUser": liquidated, "markPx": "40010.0", "method": "market"}}
    )
    return [user, own | about | more]


FILLS = [
    fill("0xAA", "0xaa"),
    fill("0xbb", "0xaa", side="B", dir="Open Long", crossed=False),
    fill("0xcc", None),
    fill("0xdd", "0xdd", side="B", dir="Close Short", px="41000.0", time=STAMP - 5_000),
]


def test_liquidations__are_the_fills_of_the_liquidated_alone(tmp_path: Path) -> None:
    block = {"block_time": "2026-10-01T12:00:00", "block_number": 1, "events": FILLS}
    path = tmp_path / "fills"
    texts = ["\n".join(map(json.dumps, FILLS)), json.dumps(block)]
    for text in texts:
        path.write_text(text)
        found = trades.read_liquidations(path)
        assert found.select("symbol", "side", "price", "notional").rows() == [
            ("BTC", "short", 41_000.0, 20_500.0),
            ("BTC", "long", 40_000.0, 20_000.0),
        ]
    assert recorded_events(found.drop("side"), source="fills").events.height == 2
    path.write_text(json.dumps(FILLS[0]))
    assert trades.read_liquidations(path).height == 1


def test_liquidations_of_user_fills__are_its_own_crossing_closes(tmp_path: Path) -> None:
    path = tmp_path / "fills.json"
    path.write_text(json.dumps([one for _, one in FILLS]))
    assert trades.read_liquidations(path)["side"].to_list() == ["short", "long"]


def message(*events: dict[str, Any], topic: str = "allLiquidation.BTCUSDT") -> str:
    return json.dumps({"topic": topic, "type": "snapshot", "ts": STAMP, "data": list(events)})


def event(**more: Any) -> dict[str, Any]:
    return {"T": STAMP, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "40000.0"} | more


def test_liquidations_of_bybit__are_read_from_its_messages_among_others(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    lines = [
        json.dumps({"success": True, "ret_msg": "", "op": "subscribe"}),
        message(event(), event(S="Sell", T=STAMP - 5, p="41000")),
        json.dumps({"op": "pong"}),
        message(event(s="BTCUSD", v="100"), topic="allLiquidation.BTCUSD"),
        message({"nothing": 1}, topic="publicTrade.BTCUSDT"),
    ]
    path.write_text("\n".join(lines))
    found = trades.read_liquidations(path)
    assert found.select("symbol", "side", "price", "notional").rows() == [
        ("BTCUSDT", "short", 41_000.0, 20_500.0),
        ("BTCUSDT", "long", 40_000.0, 20_000.0),
        ("BTCUSD", "long", 40_000.0, 100.0),
    ]
    assert found["time"][1] == MOMENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[3]", "is not a fill"),
        (json.dumps(fill("0xaa", "0xaa", side="X")), "is not a fill"),
        (message(event(S="Long")), "line 1 is no message of allLiquidation.SYMBOL: no 'Long'"),
        (message(event(p="0")), "p and v must be above zero"),
        (message(event()) + "\nnonsense", "line 2 is no message of allLiquidation.SYMBOL"),
    ],
)
def test_bad_liquidations__are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "fills").write_text(text)
    with pytest.raises(DataError) as caught:
        trades.read_liquidations(tmp_path / "fills")
    assert said in str(caught.value)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        trades.read_liquidations(tmp_path / "none")
