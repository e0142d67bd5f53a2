"""The page about market data names what there is, all of it."""

import re
from pathlib import Path

from backtest.market import quality
from backtest.market.repairs import REPAIRS
from backtest.market.sources import ARCHIVES, KINDS, VENUES

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text("utf-8")
NAMED = set(re.findall(r"`([a-z0-9_-]+)`", PAGE))


def test_page__names_every_venue_data_set_kind_and_check():
    wanted = {*VENUES, *KINDS, *quality.CHECKS, *(data for _, data in ARCHIVES)}
    assert wanted - NAMED == set()


def test_page__tells_every_repair_in_its_own_words():
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert {name: told.get(name) for name in REPAIRS} == REPAIRS
