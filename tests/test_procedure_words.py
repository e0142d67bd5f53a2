"""A procedure in one sentence."""

from __future__ import annotations

import pytest

from backtest.cli.common.procedure_text import RANKS, sentence
from backtest.rules.procedure import CHOICES, Procedure


@pytest.mark.parametrize("rank", CHOICES["adl_rank"])
def test_every_adl_ranking__is_described_in_words(rank):
    told = sentence({"procedure": Procedure(adl_rank=rank), "remainder": "returned"})
    assert f"; auto-deleveraging when the fund is empty, {RANKS[rank]}, at the bankruptcy price" in told
