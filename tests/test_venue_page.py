"""The page of venue files equals the checks; files to begin from read back to the rules they were made from."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from datetime import date
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest

from backtest.__main__ import main
from backtest.errors import RulesError
from backtest.rules import Venue, venue_files
from backtest.rules.scaffold.fields import WORDS, venue_fields

SCRIPT = run_path(str(Path(__file__).parents[1] / "docs" / "venue_file.py"))
HEAD, PAGE, page = (SCRIPT[name] for name in ("HEAD", "PAGE", "page"))

ROWS = [{"floor": 0, "rate": 0.005, "amount": 0}, {"floor": 1e5, "rate": 0.01, "amount": 500}]
SETTINGS = {
    "name": "own",
    "title": "Own",
    "contracts": {"BTCUSDT": {"tables": [{"name": "first", "from": "2021-03-18", "rows": ROWS}]}},
}
SHORTEST = 'name = "own"\ntitle = "Own"\n'
TABLE = '[[contracts.BTCUSDT.tables]]\nname = "first"\nrows = [{ floor = 0, rate = 0.004 }]\n'

#: What some examples need beside them.
BESIDE = {
    "closing_fee": "closing_fee_rate = 0.001",
    "closing_fee_rate": 'closing_fee = "at_mark"',
    "margin_includes_closing_fee": 'closing_fee = "at_bankruptcy"\nclosing_fee_rate = 0.001',
    "slices": 'step = "fraction"\nstep_fraction = 0.5',
}


def test_page__is_written_from_the_checks() -> None:
    assert PAGE.read_text("utf-8") == page(), "python docs/venue_file.py"


def test_every_field__has_words_and_no_words_are_of_no_field() -> None:
    known = {(field.section, field.name) for field in venue_fields()}
    assert known == {(section, name) for section, own in WORDS.items() for name in own}


@pytest.mark.parametrize(
    "field", [own for own in venue_fields() if own.example], ids=lambda own: f"{own.section}.{own.name}"
)
def test_example__is_accepted_where_the_page_says(tmp_path: Path, field: Any) -> None:
    given = f"{field.name} = {field.example}\n"
    head = {name: f"{name} = {value}" for name, value in (("name", '"own"'), ("title", '"Own"'))}
    if field.section == "" and field.name not in ("releases",):
        text = "\n".join([*(head | {field.name: given}).values(), TABLE])
    elif field.section in ("rules", "cross", "procedure"):
        text = f"{SHORTEST}[{field.section}]\n{given}{BESIDE.get(field.name, '')}\n{TABLE}"
    elif field.section == "source":
        others = {"value": '"mark"', field.name: field.example}
        text = f"{SHORTEST}[rules]\nbasis = {{ {', '.join(f'{n} = {v}' for n, v in others.items())} }}\n{TABLE}"
    elif field.section == "contracts.SYMBOL":
        text = f"{SHORTEST}[contracts.BTCUSDT]\n{given}{TABLE}"
    elif field.section == "contracts.SYMBOL.tables":
        text = f"{SHORTEST}{_with_field(field.name, given)}"
    elif field.section == "contracts.SYMBOL.tables.rows":
        row = {"floor": "50_000", "rate": "0.005", field.name: field.example}
        first = "floor = 0, rate = 0.004" + (", amount = 0" if field.name == "amount" else "")
        rows = f"{{ {first} }}, {{ {', '.join(f'{n} = {v}' for n, v in row.items())} }}"
        text = f'{SHORTEST}[[contracts.BTCUSDT.tables]]\nname = "first"\nrows = [{rows}]\n'
    elif field.section == "default":
        text = f"{SHORTEST}{TABLE}[default]\n" + (given if field.name == "like" else f'like = "BTCUSDT"\n{given}')
    else:
        return
    path = tmp_path / "own.toml"
    path.write_text(text)
    Venue.load(path)


def _with_field(name: str, given: str) -> str:
    """Return a table with a field, and what it needs beside it."""
    kept = "" if name == "name" else 'name = "first"\n'
    if name == "rate_factor":
        return (
            f'[[contracts.BTCUSDT.tables]]\n{kept}model = "leverage"\n{given}rows = [{{ max_leverage = 100 }}]\n'
        )
    rows = "" if name == "rows" else "rows = [{ floor = 0, rate = 0.004 }]\n"
    flat = 'model = "flat"\n' if name in ("size", "contract_size") else ""
    return f"[[contracts.BTCUSDT.tables]]\n{kept}{flat}{given}{rows}"


def test_smallest_file__of_the_page_is_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", HEAD, re.DOTALL)
    (tmp_path / "own.toml").write_text(shown)
    assert Venue.load(tmp_path / "own.toml").contract("BTCUSDT").tables[0].rates.tolist() == [0.004, 0.005]
    assert Venue.from_dict(tomllib.loads(shown)).contract("BTCUSDT").tables[0].name == "2021-03-18"


def plain(venue: Venue, symbols: list[str]) -> dict[str, Any]:
    """Return a venue's rules and the contracts of some symbols, without its name."""
    own = {item.name: getattr(venue, item.name) for item in dataclasses.fields(venue)}
    for name in ("name", "title", "contracts", "provenance"):
        own.pop(name)
    sourced = {path: source for path, source in venue.provenance.items() if source.source}
    found = own | {"contracts": {symbol: venue.contract(symbol) for symbol in symbols}, "provenance": sourced}
    return json.loads(json.dumps(found, default=_written))  # type: ignore[no-any-return]


def _written(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


@pytest.mark.parametrize("name", venue_files())
def test_new_file__reads_back_to_the_rules_it_was_made_from(tmp_path: Path, name: str, capsys: Any) -> None:
    path = tmp_path / f"{name}-own.toml"
    assert main(["venues", "new", str(path), "--like", name]) == 0
    like, made = Venue.load(name), Venue.load(path)
    assert list(made.contracts) == list(like.contracts)
    symbols = list(like.contracts)[:12]
    assert plain(made, symbols) == plain(like, symbols)
    assert made.name == f"{name}-own"
    capsys.readouterr()
    again = tmp_path / "again.toml"
    assert main(["venues", "new", str(again), "--like", str(path)]) == 0
    assert plain(Venue.load(again), symbols) == plain(like, symbols)


def test_new_file__overwrites_nothing_and_needs_a_name(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "own.toml"
    path.write_text("mine")
    assert main(["venues", "new", str(path)]) == 2
    assert f"FILE exists already: {path} is not overwritten" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["venues", "new"]) == 2
    assert "venues new needs a FILE to write" in capsys.readouterr().err
    assert main(["venues", "binance", "--like", "okx"]) == 2
    assert "FILE and --like are of `backtest venues new`" in capsys.readouterr().err


def test_venues__prints_every_rule_as_applied_and_where_it_comes_from(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'{SHORTEST}unknown = ["the fee"]\n[rules]\nbasis = "entry"\n{TABLE}')
    assert main(["venues", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "basis entry [no source stated]" in printed
    assert "remainder returned [default: not in the file]" in printed
    assert "no date stated, taken as always in force" in printed
    assert "Not known - the fee" in printed
    for field in venue_fields():
        if field.section in ("rules", "cross", "procedure"):
            assert f"{field.name} " in printed, field.name


def test_from_dict__takes_the_fields_of_a_file_with_numbers_of_numpy_and_dates_as_text() -> None:
    rows = [{name: np.float64(value) for name, value in row.items()} for row in ROWS]
    tables = ({"name": "first", "from": date(2021, 3, 18), "rows": tuple(rows)},)
    given = SETTINGS | {"contracts": {"BTCUSDT": {"tables": tables}}}
    for settings in (SETTINGS, given):
        table = Venue.from_dict(settings).contract("BTCUSDT").tables[0]
        assert (table.dated, table.period) == ("announced", "from 2021-03-18")
        assert table.amounts.tolist() == [0.0, 500.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": 7}, "venue 'own' has 1 problem: title: must be text, is 7"),
        ({"rulez": {}}, "rulez: is not a setting here: there are name, title"),
        ({"contracts": {"BTCUSDT": {"tables": [{"name": "a", "from": "soon", "rows": ROWS}]}}}, "must be a date"),
        ({"name": None}, "the venue has 1 problem: name: is missing"),
    ],
)
def test_from_dict__refuses_what_a_file_may_not_say(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RulesError, match=said):
        Venue.from_dict(SETTINGS | change)


def test_from_dict__refuses_settings_that_hold_themselves() -> None:
    endless: dict[str, Any] = dict(SETTINGS)
    endless["cross"] = endless
    with pytest.raises(RulesError, match="nested too deep"):
        Venue.from_dict(endless)
