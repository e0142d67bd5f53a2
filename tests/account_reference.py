"""docs/accounts.md written out bar by bar, one account at a time: slow, and meant to be read.

Nothing here is shared with the engine. Contracts, tables and venues are read as plain field values, and every
formula is evaluated in the order the page writes it, so that results can be compared bit for bit.
"""

# ruff: noqa: N802, N803, N806 (a formula looks like the page's: P, Q, K, W stay capitals)

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl
from segment_reference import History, in_milliseconds, rows_of, source_of, table_for, tables_after, tier_of

from backtest.schemas.frames import ACCOUNT_OUTCOME_COLUMNS, LEG_OUTCOME_COLUMNS

Row = dict[str, Any]
Prices = dict[str, float]


class Grid:
    """Every opening of any symbol's bars, and what each symbol shows there."""

    def __init__(
        self, bars: pl.DataFrame, funding: pl.DataFrame | None, kinds: dict[str, str], limit: Any
    ) -> None:
        symbols = list(kinds)
        self.symbols = symbols
        self.limit = limit
        self.histories = {
            name: History(rows_of(bars, name), rows_of(funding, name), kind) for name, kind in kinds.items()
        }
        steps = Counter(
            step for history in self.histories.values() for step in (b - a for a, b in pairwise(history.times))
        )
        self.interval = min(steps) if steps else 60_000
        first = min(history.times[0] for history in self.histories.values())
        last = max(history.times[-1] for history in self.histories.values())
        self.times = list(range(first, last + 1, self.interval))

    def bar_of(self, symbol: str, i: int) -> int:
        """Return the symbol's own last bar at or before a grid bar."""
        return bisect_right(self.histories[symbol].times, self.times[i]) - 1

    def prices(self, symbol: str, i: int) -> tuple[float, float, float]:
        history = self.histories[symbol]
        own = self.bar_of(symbol, i)
        bar = history.series["mark"][own]
        if history.times[own] == self.times[i]:
            return bar.low, bar.high, bar.close
        return bar.close, bar.close, bar.close

    def funding(self, symbol: str, i: int) -> float:
        return self.histories[symbol].funding_in_bar(self.bar_of(symbol, i))

    def is_stale(self, symbol: str, i: int) -> bool:
        missing = (
            self.times[i] + self.interval - (self.histories[symbol].times[self.bar_of(symbol, i)] + self.interval)
        )
        return self.limit is not None and missing > self.limit

    def first_opening(self, time: int) -> int:
        """Return the first grid opening at or after a time; the number of bars where there is none."""
        return next((i for i, opening in enumerate(self.times) if opening >= time), len(self.times))


class Leg:
    """One leg and the bars its entry and exit take effect at."""

    def __init__(self, row: Row, grid: Grid, kind: str) -> None:
        history = grid.histories[row["symbol"]]
        self.row, self.symbol = row, row["symbol"]
        self.s = 1.0 if row["side"] == "long" else -1.0
        self.q, self.E = row["quantity"], row["entry_price"]
        self.inverse = kind == "inverse"
        self.r = -self.s if self.inverse else self.s
        self.start = grid.first_opening(row["entry_time"])
        self.F_e = history.funding_at(row["entry_time"])
        self.end = len(grid.times)
        exit_time = row.get("exit_time")
        own = len(history.times) if exit_time is None else history.first_opening(exit_time)
        if own < len(history.times):
            self.end = grid.times.index(history.times[own])
            self.P_x = history.series["mark"][own].open
            self.F_x = history.funding_at(exit_time)

    def held(self, i: int) -> bool:
        return self.start <= i < self.end

    def x(self, P: float) -> float:
        return 1.0 / P if self.inverse else P

    def moved(self, P: float) -> float:
        return (self.r * self.q) * (self.x(P) - self.x(self.E))

    def result(self) -> float:
        return self.moved(self.P_x) - (self.s * self.q) * (self.F_x - self.F_e)


class Position(NamedTuple):
    """The legs of one symbol and side held at one time."""

    symbol: str
    legs: list[Leg]
    s: float
    Q: float
    cost: float
    anchor: float
    needs: list[tuple[float, float]]  #: (m_k, n_k)

    @property
    def r(self) -> float:
        return self.legs[0].r

    def x(self, P: float) -> float:
        return self.legs[0].x(P)

    def mm(self, P: float) -> float:
        return max(m * self.x(P) + n for m, n in self.needs)

    def pieces(self, usable: bool) -> list[tuple[float, float]]:
        r, Q, cost = self.r, self.Q, self.cost
        if usable:
            return [(r * Q - m, -n) for m, n in self.needs]
        return [piece for m, n in self.needs for piece in ((r * Q - m, -n - r * cost), (-m, -n))]


def reserve(first: Leg, Q: float, cost: float, size: float, W: float, contract: Any) -> float:
    """Return the closing fee reserved at the bankruptcy price of the position's margin."""
    if contract.closing_fee != "at_bankruptcy":
        return 0.0
    leverage = first.row.get("leverage")
    if leverage is None and not first.inverse:
        return 0.0
    f, r = contract.closing_fee_rate, first.r
    f_i = f if leverage is None and contract.margin_includes_closing_fee else 0.0
    M = W if leverage is None else size / leverage
    x_v = (r * cost - M) / (Q * (r - f_i))
    if x_v <= 0:
        return 0.0
    return f * (Q if contract.kind == "face_value" else Q * x_v)


def position_of(legs: list[Leg], W: float, contract: Any, bar: int, world: Row) -> Position:
    first, demand = legs[0], world["demand"]
    table = table_in(contract, first, bar, world)[0]
    Q, cost, anchor = 0.0, 0.0, 0.0
    for leg in legs:
        Q += leg.q
        cost += leg.q * leg.x(leg.E)
        anchor += leg.q * leg.F_e
    size = Q if contract.kind == "face_value" else cost
    fee = contract.closing_fee_rate if contract.closing_fee == "at_mark" else 0.0
    if table.model == "leverage":
        tiers_of = [(float(table.rate_factor) / max(first.row["leverage"], 1.0), 0.0)]
    elif table.model == "flat":
        counted = Q / table.contract_size if table.size == "contracts" else size
        tiers_of = [(float(table.rates[tier_of(counted, table)]), 0.0)]
    else:
        tiers_of = list(zip(table.rates.tolist(), table.amounts.tolist(), strict=True))
    c = reserve(first, Q, cost, size, W, contract)
    base = max(r * size - a for r, a in tiers_of) + c
    if contract.kind == "face_value":
        needs = [(0.0, base + fee * Q)]
    elif contract.basis == "entry":
        needs = [(fee * Q, base)]
    else:
        needs = [((r + fee) * Q, -a + c) for r, a in tiers_of]
    needs = [(m * demand, n * demand) for m, n in needs]
    return Position(first.symbol, legs, first.s, Q, cost, anchor, needs)


def table_in(contract: Any, leg: Leg, bar: int, world: Row) -> tuple[Any, int]:
    """Return the table a leg is under in a bar, and a moment that it began at or applied at."""
    tiers, moment = world["tiers"], leg.row["entry_time"]
    table = table_for(contract, leg.symbol, moment, tiers)
    if world["tiers_apply"] == "always":
        for begins, later in tables_after(contract, leg.symbol, leg.row["entry_time"], tiers):
            if world["grid"].first_opening(begins) <= bar:
                table, moment = later, begins
    return table, moment


class Coin(NamedTuple):
    """Collateral in another coin, or a debt."""

    symbol: str
    u: float
    schedule: list[tuple[float, float]]  #: (floor, haircut)

    def x(self, P: float) -> float:
        return P

    def pieces(self) -> list[tuple[float, float]]:
        if self.u < 0 or not self.schedule:
            return [(self.u, 0.0)]
        found, b, before = [], 0.0, None
        for floor, haircut in self.schedule:
            b = 0.0 if before is None else b + floor * (haircut - before)
            before = haircut
            found.append((self.u * (1 - haircut), b))
        return found


class State(NamedTuple):
    """An account between two openings at which something happens."""

    W: float
    terms: list[Position | Coin]  #: by symbol; in it long, short, collateral
    profit: str

    def positions(self) -> list[Position]:
        return [term for term in self.terms if isinstance(term, Position)]

    def views(self) -> list[Position | None]:
        """Return whose profit is usable in each view the account is tested in (None: as the rule says for all)."""
        return list(self.positions()) if self.profit == "per_position" else [None]

    def usable(self, position: Position, own: Position | None) -> bool:
        return self.profit == "shared" or position is own

    def K(self, own: Position | None) -> float:
        K = self.W
        for p in self.positions():
            K = K + (p.s * p.anchor - p.r * p.cost if self.usable(p, own) else p.s * p.anchor)
        return K

    def G(self, symbol: str, P: float, own: Position | None) -> float:
        total = 0.0
        for term in self.terms:
            if term.symbol == symbol:
                pieces = term.pieces() if isinstance(term, Coin) else term.pieces(self.usable(term, own))
                total += min(c * term.x(P) + d for c, d in pieces)
        return total

    def V(self, P: Prices, F: Prices, own: Position | None, symbols: list[str]) -> float:
        V = self.K(own)
        for symbol in symbols:
            if any(term.symbol == symbol for term in self.terms):
                U = 0.0
                for p in self.positions():
                    U += p.s * p.Q if p.symbol == symbol else 0.0
                V = V + (self.G(symbol, P[symbol], own) - U * F[symbol])
        return V


class Hit(NamedTuple):
    """The account at the prices that liquidate it."""

    state: State
    own: Position | None
    P: Prices
    F: Prices
    V: float


def worst_prices(state: State, grid: Grid, i: int, convention: str, own: Position | None) -> Hit:
    """Return the prices a bar is tested at under a convention."""
    held = {term.symbol for term in state.terms}
    bars = {symbol: grid.prices(symbol, i) for symbol in held}
    F = {symbol: grid.funding(symbol, i) for symbol in held}
    if convention == "own_worst":
        candidates = [{symbol: min(bar, key=lambda P: state.G(symbol, P, own)) for symbol, bar in bars.items()}]
    else:
        columns = (0, 1, 2) if convention == "joint_worst" else (2,)
        candidates = [{symbol: bar[column] for symbol, bar in bars.items()} for column in columns]
    hits = [Hit(state, own, P, F, state.V(P, F, own, grid.symbols)) for P in candidates]
    return min(hits, key=lambda hit: hit.V)


class Moment(NamedTuple):
    """One opening in an account's life, after everything that happens there."""

    bar: int
    what: str  #: held, idle, exited, unknown
    state: State | None


def moments(
    legs: list[Leg], coins: list[Coin], transfers: list[Row], wallet: float, world: Row
) -> Iterator[Moment]:
    """Yield the openings of an account's life as if nothing liquidated it, until it is over or unknown."""
    grid, order = world["grid"], world["grid"].symbols
    legs = sorted(legs, key=lambda leg: (order.index(leg.symbol), -leg.s))
    W, counted = wallet, 0
    for i in range(min(leg.start for leg in legs), len(grid.times)):
        for leg in legs:
            if leg.end == i:
                W = W + leg.result()
        while counted < len(transfers) and transfers[counted]["bar"] <= i:
            W = W + transfers[counted]["wallet_change"]
            counted += 1
        if all(leg.end <= i for leg in legs):
            yield Moment(i, "exited", None)
            return
        held = [leg for leg in legs if leg.held(i)]
        if not held:
            yield Moment(i, "idle", None)
            continue
        if any(
            grid.is_stale(name, i) for name in {*(leg.symbol for leg in held), *(coin.symbol for coin in coins)}
        ):
            yield Moment(i, "unknown", None)
            return
        yield Moment(i, "held", State(W, terms_of(held, coins, W, i, world), world["profit"]))


def terms_of(held: list[Leg], coins: list[Coin], W: float, bar: int, world: Row) -> list[Position | Coin]:
    """Return positions and collateral by symbol; in it long, short, collateral."""
    terms: list[Position | Coin] = []
    for symbol in world["grid"].symbols:
        for s in (1.0, -1.0):
            own = [leg for leg in held if leg.symbol == symbol and leg.s == s]
            if own:
                terms.append(position_of(own, W, world["contracts"][symbol], bar, world))
        terms += [coin for coin in coins if coin.symbol == symbol]
    return terms


def is_exempt(state: State, world: Row) -> bool:
    """Whether the account is hedged in every symbol under a rule that spares it."""
    sides: dict[str, dict[float, float]] = {}
    for p in state.positions():
        sides.setdefault(p.symbol, {})[p.s] = p.Q
    return world["hedged"] == "exempt" and all(Q.get(1.0) == Q.get(-1.0) for Q in sides.values())


def follow(legs: list[Leg], coins: list[Coin], transfers: list[Row], wallet: float, world: Row) -> dict[str, Any]:
    """Return how an account ends under each convention, at which bar, and the hit that liquidates it."""
    lives: dict[str, Any] = {}
    end: tuple[str, int, None] = ("open", len(world["grid"].times), None)
    for bar, what, state in moments(legs, coins, transfers, wallet, world):
        if what in ("exited", "unknown"):
            end = (what, bar, None)
        if state is None or is_exempt(state, world):
            continue
        for view in state.views():
            for name in ("own_worst", "joint_worst", "closes"):
                if name not in lives:
                    hit = worst_prices(state, world["grid"], bar, name, view)
                    if (hit.V < 0) if world["strict"] else (hit.V <= 0):
                        lives[name] = ("liquidated", bar, hit)
        if len(lives) == 3:
            break
    return {name: lives.get(name, end) for name in ("own_worst", "joint_worst", "closes")}


def world_of(
    frames: dict[str, pl.DataFrame],
    bars: pl.DataFrame,
    funding: pl.DataFrame | None,
    venue: Any,
    *,
    gap_limit_ms: int | None = 6 * 3600 * 1000,
    profit: str = "shared",
    hedged: str = "liquidatable",
    tiers: Any = "strict",
    demand: float = 1.0,
) -> Row:
    """Return everything accounts live in; the maintenance margin counts ``demand`` times."""
    traded = set(frames["legs"]["symbol"].to_list())
    symbols = bars["symbol"].unique(maintain_order=True).to_list()
    contracts = {symbol: venue.contracts.get(symbol, venue.default) for symbol in traded}
    schedules: dict[str, list[tuple[float, float]]] = {}
    for row in frames["haircuts"].to_dicts():
        schedules.setdefault(row["symbol"], []).append((row["floor"], row["haircut"]))
    return {
        "grid": Grid(
            bars,
            funding,
            {name: contracts[name].kind if name in contracts else "linear" for name in symbols},
            gap_limit_ms,
        ),
        "contracts": contracts,
        "strict": next(iter(contracts.values())).trigger == "<",
        "profit": profit,
        "hedged": hedged,
        "tiers": tiers,
        "tiers_apply": venue.tiers_apply,
        "demand": demand,
        "schedules": schedules,
    }


def members(frames: dict[str, pl.DataFrame], world: Row) -> Iterator[tuple[Row, list[Leg], list[Coin], list[Row]]]:
    """Yield each account with its legs, its collateral and its transfers in order of opening."""
    rows = {name: in_milliseconds(frame).to_dicts() for name, frame in frames.items()}
    grid = world["grid"]
    own: dict[str, dict[int, list[Row]]] = {name: {} for name in ("legs", "collateral", "transfers")}
    for name, groups in own.items():
        for row in rows[name]:
            groups.setdefault(row["account_id"], []).append(row)
    for account in rows["accounts"]:
        legs, coins, moved = (own[name].get(account["account_id"], []) for name in own)
        transfers = [row | {"bar": grid.first_opening(row["time"])} for row in moved]
        yield (
            account,
            [Leg(row, grid, world["contracts"][row["symbol"]].kind) for row in legs],
            [Coin(row["symbol"], row["quantity"], world["schedules"].get(row["symbol"], [])) for row in coins],
            sorted(transfers, key=lambda row: row["bar"]),
        )


def reference_account_outcomes(
    frames: dict[str, pl.DataFrame],
    bars: pl.DataFrame,
    funding: pl.DataFrame | None,
    venue: Any,
    *,
    convention: str = "joint_worst",
    **options: Any,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return accounts and legs with their outcomes, as ``backtest.sweep_accounts`` must."""
    world = world_of(frames, bars, funding, venue, **options)
    grid = world["grid"]
    accounts, ended = [], {}
    for account, legs, coins, transfers in members(frames, world):
        order_margin = account.get("order_margin", 0.0)
        lives = follow(legs, coins, transfers, account["wallet"] - order_margin, world)
        accounts.append(account_outcome(lives, convention, grid, order_margin))
        for leg in legs:
            ended[leg.row["leg_id"]] = (
                *leg_outcome(leg, *lives[convention], grid), *worth(leg, venue),
                *tiers_of(leg, venue, *lives[convention][:2], world), None,
            )  # fmt: skip
    rows = [ended[leg_id] for leg_id in frames["legs"]["leg_id"]]
    return (
        frames["accounts"].hstack(framed(accounts, ACCOUNT_OUTCOME_COLUMNS)),
        frames["legs"].hstack(framed(rows, LEG_OUTCOME_COLUMNS)),
    )


def tiers_of(leg: Leg, venue: Any, outcome: str, bar: int, world: Row) -> tuple[str, str]:
    """Return the last table a leg was held under, and how it comes to apply."""
    last = min(bar if outcome == "liquidated" else bar - 1, leg.end - 1)
    contract = venue.contracts.get(leg.symbol, venue.default)
    table, moment = table_in(contract, leg, last if last >= leg.start else -1, world)
    return table.name, source_of(table, moment, world["tiers"])


def framed(rows: list[tuple[Any, ...]], columns: Row) -> pl.DataFrame:
    """Return rows under the outcome columns, milliseconds as times."""
    numbers = {name: pl.Int64 if isinstance(dtype, pl.Datetime) else dtype for name, dtype in columns.items()}
    return pl.DataFrame(rows, schema=numbers, orient="row").cast(columns)


def account_outcome(lives: Row, convention: str, grid: Grid, order_margin: float) -> tuple[Any, ...]:
    outcome, bar, hit = lives[convention]
    bracket = [grid.times[lives[name][1]] if lives[name][2] else None for name in ("own_worst", "closes")]
    time = None if outcome == "open" else grid.times[bar]
    money: tuple[Any, ...] = (None, None, None, None)
    if hit:
        state, P, F = hit.state, hit.P, hit.F
        mm = 0.0
        at_fill = state.W
        for term in state.terms:
            if isinstance(term, Coin):
                at_fill = at_fill + term.u * P[term.symbol]
                continue
            mm = mm + term.mm(P[term.symbol])
            value = term.r * (term.Q * term.x(P[term.symbol]) - term.cost)
            at_fill = at_fill + (value - term.s * (term.Q * F[term.symbol] - term.anchor))
        at_fill = at_fill + order_margin
        money = (hit.V + mm, mm, at_fill, max(0.0, -at_fill))
    ambiguous = (lives["own_worst"][2] is None) != (lives["closes"][2] is None)
    return outcome, outcome == "liquidated", time, *bracket, *money, ambiguous, None


def worth(leg: Leg, venue: Any) -> tuple[float, str]:
    """Return a leg's notional at its entry, and how its contract pays."""
    kind = venue.contracts.get(leg.symbol, venue.default).kind
    return {"linear": leg.q * leg.E, "inverse": leg.q / leg.E, "face_value": leg.q}[kind], kind


def leg_outcome(leg: Leg, outcome: str, bar: int, hit: Hit | None, grid: Grid) -> tuple[Any, ...]:
    s, q = leg.s, leg.q
    if leg.start > bar or leg.start == len(grid.times):
        return None, None, False, None, None, None
    if leg.end <= bar and leg.end < len(grid.times):
        paid = (s * q) * (leg.F_x - leg.F_e)
        return "exited", grid.times[leg.end], False, leg.P_x, paid, leg.moved(leg.P_x) - paid
    if hit:
        triggered = hit.own is None or (hit.own.symbol == leg.symbol and hit.own.s == s)
        P, paid = hit.P[leg.symbol], (s * q) * (hit.F[leg.symbol] - leg.F_e)
        return "liquidated", grid.times[bar], triggered, P, paid, leg.moved(P) - paid
    tested = bar - 1
    F = grid.funding(leg.symbol, tested) if tested >= leg.start else leg.F_e
    time = None if outcome == "open" else grid.times[bar]
    return outcome, time, False, None, (s * q) * (F - leg.F_e), None
