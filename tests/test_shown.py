"""What values show of themselves: a few lines, a small table, nothing unescaped."""

from __future__ import annotations

import pytest

from backtest import Accounts, Venue, liquidate_accounts, sweep_accounts
from backtest.rules import venue_files
from backtest.shown import LINES, WIDTH
from backtest.study.levels import level_map, without_drift
from tests.example_world import world


def is_short(value: object) -> bool:
    """Whether a value shows itself in few lines, none of them long."""
    lines = repr(value).split("\n")
    return len(lines) <= LINES and max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize("name", venue_files())
def test_venue__shows_itself_in_three_lines(name: str) -> None:
    venue = Venue.load(name)
    contracts = [*venue.contracts.values()]
    tables = [table for contract in contracts for table in contract.tables]
    for value in (venue, venue.procedure, venue.cross, *contracts, *tables):
        assert is_short(value)
        assert "<table>" in value._repr_html_()


def test_results__show_themselves_in_three_lines() -> None:
    known = world()
    market, venue, accounts = known["market"], known["venue"], known["accounts"]
    assert isinstance(accounts, Accounts)
    values = [known[name] for name in ("market", "book", "accounts", "impact", "replayed", "grid", "open_levels")]
    values += [sweep_accounts(accounts, market, venue), liquidate_accounts(accounts, market, venue)]
    values += [level_map(without_drift(known["book"], market, venue), market, "BTCUSDT")]
    for value in values:
        assert is_short(value), value
        assert value._repr_html_().startswith("<table>")


def test_table__escapes_what_it_is_given() -> None:
    venue = Venue.load("binance").with_(title="<script>alert(1)</script>", note="a & b")
    table = venue._repr_html_()
    assert "<script" not in table
    assert "&lt;script&gt;" in table
    assert "http" not in table


def test_fields__at_their_default_are_left_out() -> None:
    assert repr(Venue.load("binance").procedure.__class__()) == "Procedure()"
