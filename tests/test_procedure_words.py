"""A procedure told in a sentence."""

from __future__ import annotations

import pytest

from backtest.cli.common.procedure_text import RANKS, sentence
from backtest.rules.procedure import CHOICES, Procedure


@pytest.mark.parametrize("rank", CHOICES["adl_rank"])
def test_every_rank_of_deleveraging__is_told_in_words(rank):
    told = sentence({"procedure": Procedure(adl_rank=rank), "remainder": "returned"})
    assert f"deleveraging when the fund is empty, {RANKS[rank]}, at the bankruptcy price" in told
