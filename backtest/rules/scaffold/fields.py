"""Fields of a venue file: names, types and defaults as the checks have them, with meaning, unit and example.

The page ``docs/venue_file.md`` and the comments of ``backtest venues new`` are made from this list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any

from backtest.rules import contract as contract_rules
from backtest.rules import cross, procedure
from backtest.rules.contract import Contract
from backtest.rules.cross import STEPS, Cross
from backtest.rules.procedure import PROCEDURE_RULES, Procedure, rule_type
from backtest.rules.tier_file import ROW_FIELDS, TABLE_FIELDS
from backtest.rules.tiers import BOUNDARIES, CONFIDENCES, MODELS, SIZES
from backtest.rules.venue_file import CHOICES, CONTRACT_FIELDS, CONTRACT_RULES, SWITCHES, TOP_FIELDS, VENUE_RULES

KINDS = {
    str: "text",
    float: "number",
    int: "whole number",
    bool: "true or false",
    list: "list",
    dict: "table",
    datetime: "date",
}


@dataclass(frozen=True)
class Field:
    """One field of a section."""

    section: str  #: its table; empty: the top of the file
    name: str
    kind: str
    choices: tuple[str, ...]
    default: str  #: as TOML, in words where it has none, or ``required``
    unit: str
    meaning: str
    example: str  #: its value as TOML


#: Sections in the order of a file, with what each is about.
SECTIONS = {
    "": "The venue itself.",
    "rules": "Rules of every contract, and of the venue. Each may be given alone, or with its source.",
    "source": 'A rule with its source, as `basis = { value = "mark", source = "support page", date = "2021" }`.',
    "cross": "Accounts in cross margin.",
    "procedure": "Liquidation of a position, step by step, in a replay.",
    "contracts.SYMBOL": "A contract. It may override any rule of a contract.",
    "contracts.SYMBOL.tables": "A table of tiers, and the days it was in force.",
    "contracts.SYMBOL.tables.rows": "A tier: sizes from its floor up to the next one's.",
    "default": "Rules of symbols that the file does not list: those of a listed one, which is warned of.",
}

_FRACTION, _CURRENCY = "fraction", "settlement currency"

#: Unit, meaning and example of each field.
WORDS: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "": {
        "name": ("", "Name of the venue. Imported tables of this name join it.", '"example"'),
        "title": ("", "Name in reports.", '"An exchange"'),
        "settlement": ("", "Currency of margins and notionals.", '"USDT"'),
        "releases": ("", "Parquet file of the tables of many symbols, beside this file.", '"tiers.parquet"'),
        "alias": ("", "Another name of every contract, made of its symbol.", '"{symbol}USDT"'),
        "rules": ("", "See `[rules]`.", ""),
        "cross": ("", "See `[cross]`.", ""),
        "procedure": ("", "See `[procedure]`.", ""),
        "contracts": ("", "See `[contracts.SYMBOL]`; there must be one, a file of tables, or a default.", ""),
        "default": ("", "See `[default]`.", ""),
        "unknown": ("", "Facts that the sources do not state, a sentence each.", '["the size of an order"]'),
        "note": ("", "A remark.", '"copied from a page of 2021"'),
    },
    "rules": {
        "kind": ("", "How the contract pays.", '"linear"'),
        "basis": ("", "Price of the notional that the maintenance margin is taken on.", '"mark"'),
        "closing_fee": ("", "Fee to close that the requirement reserves, by its price.", '"at_mark"'),
        "closing_fee_rate": (_FRACTION, "That fee, of the notional closed.", "0.0005"),
        "margin_includes_closing_fee": ("", "Margins hold the fee that the requirement reserves.", "true"),
        "trigger": ("", "Liquidated at equity equal to the maintenance margin, or only below it.", '"<="'),
        "tick": ("quote", "Step of prices shown; 0: not known. Nothing is calculated with it.", "0.1"),
        "tick_rounding": ("", "Of liquidation prices shown; against_holder: a long's up.", '"against_holder"'),
        "lot": ("base (inverse: quote)", "Size of a contract; quantities are whole numbers; 0: unknown.", "0.001"),
        "trigger_price": ("", "Price whose bars liquidate.", '"mark"'),
        "takeover_price": ("", "Price that the venue's engine or backstop pays.", '"bankruptcy"'),
        "takeover_discount": (_FRACTION, "Backstop's discount from the liquidation price.", "0.01"),
        "remainder": ("", "Who gets the margin left after a liquidation.", '"fund"'),
        "release": ("", "Margin of a closed part: paid out to the holder, or kept.", '"pro_rata"'),
        "tiers_apply": ("", "Open positions keep the tiers of their entry, or follow the tables.", '"always"'),
    },
    "source": {
        "value": ("", "The rule.", '"mark"'),
        "source": ("", "Where it was read.", '"support page"'),
        "date": ("", "Date of the source.", '"2021-03"'),
        "confidence": ("", "How far it can be trusted.", '"official"'),
    },
    "cross": {
        "profit": ("", "Whose unrealised profit counts as margin.", '"shared"'),
        "hedged": ("", "Accounts whose longs equal their shorts in every symbol.", '"exempt"'),
        "steps": ("", f"Steps of a liquidation in order, of {', '.join(STEPS)}.", '["cancel_orders", "close"]'),
        "order": ("", "Positions closed first.", '"all"'),
        "restored_above": ("", "Margin above which a liquidation stops.", '"initial"'),
        "equity_shared_by": ("", "What positions taken over together share equity by.", '"maintenance"'),
        "rounds": ("rounds", "Rounds of the step reduce; each closes an equal part.", "50"),
        "slippage": (_FRACTION, "Cost of closing in the book, of the mark price.", "0.001"),
        "conversion_cost": (_FRACTION, "Cost of converting collateral, of its value.", "0.001"),
        "self_trade_fee": (_FRACTION, "Fee of closing long against short, of each side's notional.", "0.0005"),
    },
    "procedure": {
        "step": ("", "How much an order closes.", '"fraction"'),
        "step_fraction": (_FRACTION, "Part of the quantity at the trigger, for step fraction.", "0.2"),
        "tier_step": ("tiers", "Tiers down per step, for step tier.", "2"),
        "whole_tiers": ("tiers", "Positions in this tier or a lower one take no step.", "1"),
        "in_lowest": ("", "What closes those: one order, or the last rule.", '"last"'),
        "partial_from": (_CURRENCY, "Entry notional from which steps apply.", "100_000"),
        "until": ("", "Margin above which a liquidation stops.", '"initial"'),
        "order_notional": (_CURRENCY, "Largest order.", "1_000_000"),
        "order_type": ("", "What happens to the part of an order that does not fill.", '"fill_or_kill"'),
        "order_limit": ("", "Worst price of an order.", '"bankruptcy"'),
        "takeover_below": (_FRACTION, "Taken over at once where equity is below this part of maintenance.", "0.5"),
        "rounds": ("orders", "Orders before the last rule applies; 0: no limit.", "5"),
        "round_seconds": ("seconds", "Duration of one order.", "60"),
        "slices": ("", "Where a step's quantity goes.", '"takeover"'),
        "last": ("", "What closes the rest after the last round.", '"takeover"'),
        "liquidation_fee_rate": (_FRACTION, "Fee of the notional closed, at most the remaining equity.", "0.005"),
        "liquidation_fee_beyond_margin": ("", "All of that fee is charged, whatever equity remains.", "true"),
        "fee_fund_share": (_FRACTION, "Part of that fee that the insurance fund gets.", "1.0"),
        "trading_fee_rate": (_FRACTION, "Fee of entries and of closes by the holder.", "0.0005"),
        "trading_fee_fund_share": (_FRACTION, "Part of that fee that the insurance fund gets.", "0.1"),
        "remainder_fund_share": (_FRACTION, "Fund's part of a shared remaining margin.", "0.5"),
        "inventory": ("", "Who bears the result of positions taken over.", '"fund"'),
        "backstop_capacity": (f"{_CURRENCY} an hour", "Notional that a backstop takes over.", "5_000_000"),
        "backstop_deviation": (_FRACTION, "Negative equity that a backstop bears, of the notional.", "0.01"),
        "unwind": ("", "How positions taken over are sold.", '"share"'),
        "unwind_share": (_FRACTION, "Part of a bar's volume that they are sold in.", "0.1"),
        "adl_trigger": ("", "When auto-deleveraging (ADL) begins.", '"fund_drop"'),
        "adl_drop": (_FRACTION, "Fall of the fund from its highest that begins it.", "0.3"),
        "adl_hours": ("hours", "Time within which the fund must have fallen.", "8"),
        "adl_rank": ("", "Order in which counterparties are hit.", '"profit_leverage"'),
        "adl_price": ("", "Price they are closed at.", '"bankruptcy"'),
        "adl_mark_beyond": (_FRACTION, "Mark's distance from bankruptcy beyond which it is the mark.", "0.05"),
        "adl_profit_required": ("", "Only counterparties in profit are hit.", "true"),
        "clawback": ("", "An uncovered deficit is taken from unrealised profits.", "true"),
        "restore_orders": ("", "Stops and take-profits are restored when a liquidation stops.", "true"),
    },
    "contracts.SYMBOL": {
        "settlement": ("", "Currency of margin and notional where it is not the venue's.", '"BTC"'),
        "symbols": ("", "The source states these rules for every market.", '"all"'),
        "tables": ("", "See `[[contracts.SYMBOL.tables]]`.", ""),
        "note": ("", "A remark.", '"coin-margined"'),
    },
    "contracts.SYMBOL.tables": {
        "name": ("", "Name, by which a table can be asked for.", '"2021-03-18"'),
        "model": ("", "Rates apply each to its part of the size, one to all, or by leverage.", '"flat"'),
        "cap": ("as size", "Largest size that the table covers; larger positions are refused.", "500_000_000"),
        "size": ("", "What sizes are.", '"contracts"'),
        "contract_size": ("base (inverse: quote)", "Amount in a contract, for size contracts.", "0.1"),
        "boundary": ("", "Tier of a size that lies exactly on a boundary.", '"lower"'),
        "rate_factor": (_FRACTION, "Maintenance rate over 1 / leverage, for model leverage.", "0.6"),
        "from": ("UTC", "In force from here, as announced.", "2021-03-18T09:00:00Z"),
        "until": ("UTC", "In force to here, exclusive, as announced.", "2021-06-22T03:30:00Z"),
        "in_force": ("", "`always`: the source states the table for all times, without dates.", '"always"'),
        "source": ("", "Where it was read.", '"announcement"'),
        "confidence": ("", "How far it can be trusted.", '"official"'),
        "note": ("", "A remark.", '"amounts follow from continuity"'),
        "rows": ("", "The tiers, in order of size.", "[{ floor = 0, rate = 0.004 }]"),
        "seen": ("UTC", "A day, or a list of days, that copies of the table are of.", "[2022-05-01, 2022-07-30]"),
    },
    "contracts.SYMBOL.tables.rows": {
        "floor": ("as size", "Sizes above it are in this tier; that of the first tier is 0.", "50_000"),
        "rate": (_FRACTION, "Maintenance margin rate; it rises from tier to tier.", "0.005"),
        "amount": (_CURRENCY, "Maintenance amount, of all tiers or none; left out, it is continuous.", "50"),
        "max_leverage": ("", "Highest leverage; left out where it is unknown.", "100"),
    },
    "default": {
        "like": ("", "The listed symbol.", '"BTCUSDT"'),
        "note": ("", "A remark.", '"the tiers of others are not known"'),
    },
}  # fmt: skip


def venue_fields() -> Iterator[Field]:
    """Yield every field of a venue file, section by section."""
    for section, known in _known().items():
        for name, (kind, choices, default) in known.items():
            unit, meaning, example = WORDS[section][name]
            yield Field(section, name, KINDS[kind], tuple(choices), default, unit, meaning, example)


_Known = dict[str, tuple[type, Sequence[str], str]]


def _known() -> dict[str, _Known]:
    """Return type, choices and default of the fields of each section, as the checks have them."""
    required = ("name", "title")
    top: _Known = {name: (kind, (), "required" if name in required else "") for name, kind in TOP_FIELDS.items()}
    other = {"steps": list, "rounds": int, **dict.fromkeys(cross.CHOICES, str)}
    of_cross = {item.name: other.get(item.name, float) for item in fields(Cross)}
    return {
        "": top,
        "rules": _rules(),
        "source": {
            "value": (str, (), "required"),
            "source": (str, (), ""),
            "date": (str, (), ""),
            "confidence": (str, CONFIDENCES, '"unknown"'),
        },
        "cross": _of_class(Cross, of_cross, cross.CHOICES),
        "procedure": _of_class(Procedure, {name: rule_type(name) for name in PROCEDURE_RULES}, procedure.CHOICES),
        "contracts.SYMBOL": {
            name: (kind, ("all",) if name == "symbols" else (), "required" if name == "tables" else "")
            for name, kind in CONTRACT_FIELDS.items()
        },
        "contracts.SYMBOL.tables": _table(),
        "contracts.SYMBOL.tables.rows": {
            name: (kind, (), "required" if name in MODELS["marginal"] else "") for name, kind in ROW_FIELDS.items()
        },
        "default": {"like": (str, (), "required"), "note": (str, (), "")},
    }


def _rules() -> _Known:
    from backtest.rules.venue import Venue

    choices = {**contract_rules.CHOICES, **CHOICES}
    kinds = {
        name: str if name in choices else bool if name in SWITCHES else float
        for name in (*CONTRACT_RULES, *VENUE_RULES)
    }
    of_contract = _of_class(Contract, {name: kinds[name] for name in CONTRACT_RULES}, choices)
    return of_contract | _of_class(Venue, {name: kinds[name] for name in VENUE_RULES}, choices)


def _of_class(made: Any, kinds: Mapping[str, type], choices: Mapping[str, Sequence[str]]) -> _Known:
    """Return the fields that a frozen class checks, with its defaults."""
    defaults = {item.name: item.default for item in fields(made) if item.default is not MISSING}
    return {name: (kind, choices.get(name, ()), toml(defaults[name])) for name, kind in kinds.items()}


def _table() -> _Known:
    choices = {
        "model": tuple(MODELS),
        "size": SIZES,
        "boundary": BOUNDARIES,
        "confidence": CONFIDENCES,
        "in_force": ("always",),
    }
    defaults = {"model": '"marginal"', "size": '"notional"', "contract_size": "1.0", "boundary": '"lower"'}
    defaults |= {"name": "required", "rate_factor": "0.0", "cap": "no limit", "confidence": '"unknown"'}
    kinds = TABLE_FIELDS | {"seen": datetime}
    return {name: (kind, choices.get(name, ()), defaults.get(name, "")) for name, kind in kinds.items()}


def toml(value: Any) -> str:
    """Return a value as TOML writes it; an infinite number is ``no limit``, which is left out of files."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(each) for each in value)}]"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}" + (f".{value.microsecond:06d}" if value.microsecond else "") + "Z"
    if isinstance(value, float):
        return "no limit" if value == float("inf") else repr(float(value))
    return str(value)
