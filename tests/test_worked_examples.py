"""Published worked examples against the margin functions: ``data/README.md`` tells where they come from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtest.rules import margin
from backtest.rules.contract import Contract
from backtest.rules.tiers import TierTable
from backtest.rules.venue import Venue

HERE = Path(__file__).parent
EXAMPLES = json.loads((HERE / "data" / "worked_examples.json").read_text("utf-8"))
DOCUMENT = HERE.parent / "docs" / "worked_examples.md"
SIDES = {"long": 1.0, "short": -1.0}


class Worked:
    """An example's position under its rules: every method is a measure that some example prints."""

    def __init__(self, rules: dict[str, Any], inputs: dict[str, Any]) -> None:
        self.venue, self.contract, self.table = build(rules)
        self.inputs = inputs
        self.price = inputs.get("price", inputs.get("entry_price"))

    @property
    def held(self) -> dict[str, Any]:
        put_in = self.inputs.get("margin")
        return {
            "side": SIDES[self.inputs.get("side", "long")],
            "quantity": self.inputs["quantity"],
            "entry_price": self.inputs["entry_price"],
            "margin": self.initial_margin() if put_in is None else put_in,
        }

    @property
    def ruled(self) -> dict[str, Any]:
        return {**self.held, "leverage": self.inputs.get("leverage")}

    def notional(self) -> Any:
        return margin.notional(self.contract, quantity=self.inputs["quantity"], price=self.price)

    def initial_margin(self) -> Any:
        asked = {name: self.inputs[name] for name in ("quantity", "entry_price", "leverage")}
        return margin.initial_margin(self.contract, side=SIDES[self.inputs.get("side", "long")], **asked)

    def initial_margin_rate(self) -> Any:
        return self.initial_margin() / self.notional()

    def maintenance_margin(self) -> Any:
        return margin.maintenance_margin(self.contract, self.table, price=self.price, **self.ruled)

    def equity(self) -> Any:
        return margin.equity(self.contract, price=self.price, **self.held)

    def unrealised_pnl(self) -> Any:
        return self.equity() - self.held["margin"]

    def equity_over_maintenance(self) -> Any:
        return self.equity() / self.maintenance_margin()

    def maintenance_over_equity(self) -> Any:
        return self.maintenance_margin() / self.equity()

    def liquidated(self) -> Any:
        held, asked = self.equity(), self.maintenance_margin()
        return held <= asked if self.contract.trigger == "<=" else held < asked

    def liquidation_price(self) -> Any:
        return margin.liquidation_price(self.contract, self.table, **self.ruled)

    def bankruptcy_price(self) -> Any:
        return margin.bankruptcy_price(self.contract, **self.held)

    def takeover_price(self) -> Any:
        return margin.takeover_price(self.venue, self.contract, self.table, **self.ruled)

    def distance(self) -> Any:
        return np.abs(self.liquidation_price() - self.inputs["entry_price"])

    def distance_ratio(self) -> Any:
        first, second = self.distance()
        return np.array([first / second])

    def adverse_move(self) -> Any:
        return self.distance() / self.inputs["entry_price"]

    def loss_at_liquidation(self) -> Any:
        left = margin.equity(self.contract, price=self.liquidation_price(), **self.held)
        return self.held["margin"] - left

    def tier_rate(self) -> Any:
        return self.table.rates[self.tier]

    def tier_amount(self) -> Any:
        return self.table.amounts[self.tier]

    def tier_max_leverage(self) -> Any:
        return self.table.max_leverages[self.tier]

    def tier_initial_rate(self) -> Any:
        return 1 / self.tier_max_leverage()

    @property
    def tier(self) -> Any:
        return self.table.tier_of([self.inputs["size"]])


def build(rules: dict[str, Any]) -> tuple[Venue | None, Contract, TierTable]:
    """Return a bundled venue's contract and table, or ones made of the rules an example prints."""
    if "venue" in rules:
        venue = Venue.load(rules["venue"]).with_(**rules.get("changes", {}))
        contract = venue.contract(rules["symbol"])
        return venue, contract, contract.table(rules["table"])
    own = {name: value for name, value in rules.items() if name != "table"}
    table = TierTable(name="printed", **rules["table"])
    return None, Contract(symbol="EXAMPLE", tables=(table,), **own), table


def ours(example: dict[str, Any]) -> dict[str, float]:
    """Return our value of every figure an example prints, rounded as its source rounds."""
    worked = Worked(example["rules"], example["inputs"])
    return {name: rounded(example, float(getattr(worked, name)()[0])) for name in example["expected"]}


def rounded(example: dict[str, Any], value: float) -> float:
    if "tick" in example:  # only longs are printed so, and a long is rounded up
        return math.ceil(value / example["tick"]) * example["tick"]
    return round(value, example["decimals"]) if "decimals" in example else value


def agrees(example: dict[str, Any], name: str, value: float) -> bool:
    printed = example["expected"][name]
    if printed is None:
        return math.isnan(value)
    scale = abs(printed) if example["tolerance"]["relative"] else 1.0
    return abs(value - printed) <= example["tolerance"]["value"] * scale


def with_status(*statuses: str) -> Any:
    chosen = [example for example in EXAMPLES if example["status"] in statuses]
    return pytest.mark.parametrize("example", chosen, ids=[example["id"] for example in chosen])


@with_status("reproduced")
def test_margin_functions__equal_the_published_examples(example):
    found = ours(example)
    assert [name for name, value in found.items() if not agrees(example, name, value)] == [], found


@with_status("disagrees")
def test_margin_functions__do_not_bend_to_published_mistakes(example):
    found = ours(example)
    assert [name for name, value in found.items() if agrees(example, name, value)] == [], found


@with_status("derived_here", "reproduced_fitted", "reference_output")
def test_margin_functions__agree_with_reference_code_and_fitted_samples(example):
    found = ours(example)
    assert [name for name, value in found.items() if not agrees(example, name, value)] == [], found


def test_examples__have_one_name_each():
    names = [example["id"] for example in EXAMPLES]
    assert sorted(set(names)) == sorted(names)


def test_document__shows_every_disagreement_beside_our_number():
    lines = DOCUMENT.read_text("utf-8").splitlines()
    for example in EXAMPLES:
        if example["status"] == "disagrees":
            (name, printed), (value,) = *example["expected"].items(), ours(example).values()
            row = [line for line in lines if f"`{example['id']}`" in line]
            assert len(row) == 1, example["id"]
            assert f"| {name} | {printed:,.8g} | {value:,.8g} |" in row[0]


@pytest.mark.parametrize("side", ["long", "short"])
def test_liquidation_price__equals_the_formulas_mexc_prints_without_numbers(side):
    contract_size, contracts, entry_price, position_margin = 0.0001, 5_000.0, 61_234.5, 1_530.75
    quantity = contracts * contract_size
    venue = Venue.load("mexc")
    contract = venue.contract("BTCUSDT")
    maintenance = 0.004 * quantity * entry_price  # 5,000 contracts: the lowest tier
    printed = {
        "long": (maintenance - position_margin + entry_price * quantity) / quantity,
        "short": (entry_price * quantity - maintenance + position_margin) / quantity,
    }
    found = margin.liquidation_price(
        contract,
        contract.tables[0],
        side=SIDES[side],
        quantity=quantity,
        entry_price=entry_price,
        margin=position_margin,
    )
    assert found == pytest.approx(printed[side], rel=1e-14)
