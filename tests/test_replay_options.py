"""An option of a replay is a setting of the kernel by its name alone, on the command line as in Python."""

from __future__ import annotations

from dataclasses import fields, replace
from inspect import signature

import numpy as np
import pytest
from test_replay import crash, plain_venue

from backtest import Impact
from backtest.cli.parser import build_parser
from backtest.cli.replay.parser import ARGUMENTS, IMPACT, IN_BOTH_WORLDS
from backtest.engine.conventions import USUAL
from backtest.engine.replay import records as engine
from backtest.engine.replay.arguments import InBothWorlds, Options
from backtest.engine.replay.replay import replay
from backtest.engine.replay.session import Stage
from backtest.kernel.replay import records
from backtest.study.policy.counterfactuals import counterfactual


def settings(**changes):
    venue, impact = plain_venue(), changes.pop("impact", Impact())
    options = replace(Options(impact=impact), **changes)
    return engine.settings_of(venue, options, prepared(venue), 100.0, "mark")[0]


def prepared(venue):
    held, path = crash(1, 50)
    return Stage.of(held, path, venue, USUAL).prepared


def test_settings__are_the_fields_of_their_name():
    found = settings(seed=7, impact=Impact(linear=0.5, waves=3, order="largest", half_life_seconds=2.0))
    assert (found["seed"], found["linear"], found["waves"], found["half_life"]) == (7, 0.5, 3, 2_000.0)
    assert found["order"] != settings()["order"]


def test_settings__none_is_left_unfilled_but_what_kernels_set_themselves():
    own = plain_venue()
    sources = (own.procedure, Impact(), Options(), own)
    derived = engine._derived(own, Options(), prepared(own), 1.0, "mark")
    names = [name for name in records.SETTINGS.names if name not in derived]
    assert [name for name in names if not any(hasattr(each, name) for each in sources)] == UNFILLED


UNFILLED = ["buckets", "orders", "closing_fee_rate"]


def test_options__of_the_command_are_arguments_of_replay_and_counterfactual():
    parser = build_parser().commands["replay"]
    given = {action.dest for action in parser._actions}
    assert set(ARGUMENTS) <= given & set(signature(replay).parameters)
    assert set(IN_BOTH_WORLDS) <= set(signature(counterfactual).parameters) | set(InBothWorlds.__annotations__)
    assert set(IMPACT) <= {field.name for field in fields(Impact)}
    assert set(IMPACT.values()) <= given


@pytest.mark.parametrize("deposits", [list, iter])
def test_counterfactual__reads_deposits_once_for_both_worlds(deposits):
    held, path = crash(1, 50)
    paid = [(path.bars["time"][1], 50.0)]
    found = counterfactual(
        held, path, plain_venue(), plain_venue(), impact=Impact(), deposits=deposits(paid), seed=np.int64(3)
    )
    assert found.facts.fund["fund"].equals(found.policy.fund["fund"])
    assert found.facts.fund["fund"][-1] >= 50.0
