"""The second half of the simulator: when an account triggers, and what the procedure then does."""

# ruff: noqa: N802, N803, N806 (a formula looks like the page's: P, Q, K, W stay capitals)

from __future__ import annotations

from typing import Any

from accounts_simulator import Account, Coin, Leg, Position, Symbol, World
from accounts_whole_contracts import contracts, lot_of, of_each_leg, quantity, with_left

Prices = dict[Symbol, float]
ROUNDING = 1e-12


class Test:
    """An account at one open, after everything that happens there."""

    __test__ = False

    def __init__(self, world: World, account: Account, bar: int) -> None:
        self.world, self.account = world, account
        self.positions = account.positions(bar)
        self.held = sorted(
            {p.symbol for p in self.positions} | {coin.symbol for coin in account.coins},
            key=world.order.__getitem__,
        )
        time = world.grid[bar]
        self.prices = {symbol: symbol.prices(time) for symbol in self.held}
        self.F = {symbol: symbol.F(time) for symbol in self.held}

    def terms(self, symbol: Symbol) -> list[Position | Coin]:
        coins = [coin for coin in self.account.coins if coin.symbol is symbol]
        return [*(p for p in self.positions if p.symbol is symbol), *coins]

    def counts(self, p: Position, own: Position | None) -> bool:
        return self.world.cross.profit == "shared" or p is own

    def G(self, symbol: Symbol, P: float, own: Position | None) -> float:
        total = 0.0
        for term in self.terms(symbol):
            total += term.worth(P) if isinstance(term, Coin) else term.g(P, self.counts(term, own))
        return total

    def V(self, P: Prices, own: Position | None) -> float:
        V = self.account.W
        for symbol in self.held:
            for p in self.positions:
                if p.symbol is symbol:
                    V = V + (p.s * p.anchor - p.r * p.cost if self.counts(p, own) else p.s * p.anchor)
        for symbol in self.held:
            U = 0.0
            for p in self.positions:
                U += p.s * p.Q if p.symbol is symbol else 0.0
            V = V + (self.G(symbol, P[symbol], own) - U * self.F[symbol])
        return V

    def candidates(self, own: Position | None) -> list[Prices]:
        columns = {"own_worst": (), "joint_worst": (0, 1, 2), "closes": (2,)}[self.world.convention]
        if columns:
            return [{symbol: of[column] for symbol, of in self.prices.items()} for column in columns]
        return [{s: min(of, key=lambda P, s=s: self.G(s, P, own)) for s, of in self.prices.items()}]

    def hit(self) -> tuple[Prices, list[Position]] | None:
        """Return the prices that liquidate, and the positions that are triggered."""
        if self.world.cross.hedged == "exempt" and self.is_hedged():
            return None
        for own in self.positions if self.world.cross.profit == "per_position" else [None]:
            P = min(self.candidates(own), key=lambda P: self.V(P, own))
            V = self.V(P, own)
            if V < 0 or (V == 0 and not self.world.strict):
                return P, self.positions if own is None else [own]
        return None

    def is_hedged(self) -> bool:
        sizes = {(p.symbol, p.s): p.Q for p in self.positions}
        return all(sizes.get((symbol, -s)) == Q for (symbol, s), Q in sizes.items())


class Procedure:
    """The steps, at the prices of a trigger; money in whole units."""

    def __init__(self, test: Test, bar: int, P: Prices, triggered: list[Position]) -> None:
        self.account, self.world, self.cross = test.account, test.world, test.world.cross
        self.bar, self.P, self.F = bar, P, test.F
        self.unit = test.world.unit
        self.W, self.order_margin = self.whole(self.account.W), self.whole(self.account.order_margin)
        self.coins = list(self.account.coins)
        self.triggered = {self.name(p) for p in triggered}
        self.changed = False
        for p in test.positions:
            for leg in p.legs:
                leg.q = quantity(p.symbol, contracts(leg)) if lot_of(p.symbol) else leg.q

    def whole(self, amount: float) -> int:
        return round(amount * self.unit)

    @staticmethod
    def name(p: Position) -> tuple[Symbol, float]:
        return p.symbol, p.s

    def positions(self) -> list[Position]:
        self.account.W = self.W / self.unit
        return self.account.positions(self.bar)

    def run(self) -> None:
        while self.positions():
            if self.one_round():
                return

    def one_round(self) -> bool:
        """Take the steps once; return whether the account was given back or fully closed."""
        named: list[tuple[Symbol, float]] = []
        for step in self.cross.steps:
            self.changed = False
            if step in ("cancel_orders", "convert_collateral", "self_trade"):
                getattr(self, step)()
            else:
                named = named or self.named()
                getattr(self, step)(named)
            if not self.changed:
                continue
            left = self.positions()
            restored = self.is_enough() if left else None
            self.note(step, restored)
            if restored or not left:
                return True
            if named and not self.open(named):
                return False
        return False

    def open(self, named: list[tuple[Symbol, float]]) -> list[Position]:
        return [p for p in self.positions() if self.name(p) in named]

    def named(self) -> list[tuple[Symbol, float]]:
        positions, order = self.positions(), self.cross.order
        if order == "all":
            return [self.name(p) for p in positions]
        if order == "largest_loss":
            return [self.name(min(positions, key=self.full))]
        if order == "largest_notional":
            return [self.name(max(positions, key=lambda p: p.notional(self.P[p.symbol])))]
        first = [self.name(p) for p in positions if self.name(p) in self.triggered]
        return first or [next(self.name(p) for p in positions if not self.is_above(self.equity(p)))]

    # what the account is

    def leg_result(self, leg: Leg, d: float, fill: float, fee: float = 0.0) -> int:
        paid, X = (leg.s * d) * (self.F[leg.symbol] - leg.F_e), leg.symbol.X
        return self.whole((leg.r * d) * (X(fill) - X(leg.E)) - paid - fee * d * X(fill))

    def full(self, p: Position) -> int:
        return sum(self.leg_result(leg, leg.q, self.P[p.symbol]) for leg in p.legs)

    def profit(self, p: Position) -> int:
        X = p.symbol.X
        return max(0, self.whole(sum(leg.r * leg.q * (X(self.P[p.symbol]) - X(leg.E)) for leg in p.legs)))

    def equity(self, own: Position | None) -> int:
        """Return the equity a position may use; None: the account without any position."""
        rule, total = self.cross.profit, self.W
        total += sum(self.whole(coin.worth(self.P[coin.symbol])) for coin in self.coins)
        for p in self.positions():
            mine = own is not None and self.name(p) == self.name(own)
            counts = rule == "shared" or (rule == "per_position" and mine)
            total += self.full(p) - (0 if counts else self.profit(p))
        return total

    def least(self) -> int:
        positions = self.positions()
        return min((self.equity(p) for p in positions), default=self.equity(None))

    def needed(self) -> tuple[int, int | None]:
        """Return maintenance and initial margin; no initial margin without leverages."""
        at = [(p, self.P[p.symbol]) for p in self.positions()]
        known = all(p.legs[0].leverage is not None for p, _ in at)
        initial = sum(self.whole(p.initial(P)) for p, P in at) if known else None
        return sum(self.whole(p.mm(P)) for p, P in at), initial

    def is_above(self, equity: int) -> bool:
        level = max(self.needed()) if self.cross.restored_above == "initial" else self.needed()[0]
        self.account.narrowest = min(self.account.narrowest, abs(equity - level))
        return equity > level or (equity == level and self.world.strict)

    def is_enough(self) -> bool:
        return self.is_above(self.least())

    # what the steps do

    def cancel_orders(self) -> None:
        self.changed = self.order_margin != 0
        self.W, self.order_margin = self.W + self.order_margin, 0

    def convert_collateral(self) -> None:
        for coin in self.coins:
            if coin.u:
                value = coin.u * self.P[coin.symbol]
                result = self.whole(value - self.cross.conversion_cost * abs(value))
                self.pay("convert_collateral", None, coin.u, self.P[coin.symbol], result)
        self.coins = []

    def pay(self, step: str, leg: Any, quantity: float, price: float | None, result: int) -> None:
        self.W, self.changed = self.W + result, True
        self.account.closed.append((step, leg, quantity, price, result / self.unit))

    def part(self, step: str, leg: Leg, d: float, fill: float | None, result: int) -> None:
        self.pay(step, leg.id, d, fill, result)
        if lot := lot_of(leg.symbol):
            leg.q = quantity(leg.symbol, contracts(leg) - round(d / lot))
            return
        leg.q = 0.0 if d == leg.q else leg.q - d

    def self_trade(self) -> None:
        for symbol in self.world.symbols.values():
            both = [p for p in self.positions() if p.symbol is symbol]
            if len(both) == 2:
                traded = min(p.Q for p in both)
                least = min(sum(map(contracts, p.legs)) for p in both) if lot_of(symbol) else 0
                for p in both:
                    given = of_each_leg(p, least) if lot_of(symbol) else []
                    for number, leg in enumerate(p.legs):
                        d = leg.q if p.Q - traded < ROUNDING * p.Q else leg.q * (traded / p.Q)
                        if given and not (d := given[number]):
                            continue
                        fill = self.P[symbol]
                        self.part(
                            "self_trade", leg, d, fill, self.leg_result(leg, d, fill, self.cross.self_trade_fee)
                        )

    def take(self, step: str, p: Position, share: float, used: int, price: float | None) -> None:
        """Take over a share of a position for an equity used up."""
        spent, passed = 0, 0.0
        for leg in p.legs:
            passed += leg.q
            upto = round(used * (passed / p.Q))
            d = leg.q if share > 1 - ROUNDING else leg.q * share
            self.part(step, leg, d, price, self.leg_result(leg, d, self.P[p.symbol]) - (upto - spent))
            spent = upto

    def take_contracts(self, p: Position, D: int) -> None:
        """Take over D contracts of a position for the same share of its equity."""
        N, equity, spent, passed = sum(map(contracts, p.legs)), self.equity(p), 0, 0.0
        used, price = round(equity * (D / N)), self.price(p, equity)
        for leg, d in zip(p.legs, given := of_each_leg(p, D), strict=True):
            passed += d
            upto = round(used * (passed / sum(given)))
            if d:
                result = self.leg_result(leg, d, self.P[p.symbol]) - (upto - spent)
                self.part("step_down_tiers", leg, d, price, result)
            spent = upto

    def price(self, p: Position, equity: float) -> float | None:
        X = p.symbol.X(self.P[p.symbol]) - p.r * (equity / self.unit) / p.Q
        if p.symbol.inverse:
            return 1 / X if X > 0 else None
        return X

    def step_down_tiers(self, named: list[tuple[Symbol, float]]) -> None:
        for name in named:
            while still := self.open([name]):
                p = still[0]
                size = p.stepped_by(self.P[p.symbol])
                tier = 0 if p.table.model == "leverage" else p.tier_of(size)
                if tier == 0:
                    break
                if lot_of(p.symbol):
                    N = sum(map(contracts, p.legs))
                    self.take_contracts(
                        p, next(D for D in range(1, N + 1) if D == N or self.tier_with(p, N - D) < tier)
                    )
                    if self.is_enough():
                        return
                    continue
                share = 1 - float(p.table.floors[tier]) * (1 - ROUNDING) / size
                equity = self.equity(p)
                self.take("step_down_tiers", p, share, round(equity * share), self.price(p, equity))
                if self.is_enough():
                    return

    def tier_with(self, p: Position, left: int) -> int:
        """Return the tier of a position of which some contracts are left."""
        rest = Position(
            with_left(p, left), self.W / self.unit, self.account.openings[self.bar] if self.world.always else 0
        )
        return rest.tier_of(rest.stepped_by(self.P[p.symbol]))

    def take_over(self, named: list[tuple[Symbol, float]]) -> None:
        group = self.open(named)
        notional = [p.notional(self.P[p.symbol]) for p in group]
        if self.cross.equity_shared_by == "maintenance":
            notional = [p.mm(self.P[p.symbol]) for p in group]
        equity = [self.equity(p) for p in group]
        for n, p in enumerate(group):
            upto, before = (sum(notional[: n + k]) / sum(notional) for k in (1, 0))
            used = round(equity[n] * upto) - round(equity[n] * before)
            self.take("take_over", p, 1.0, used, self.price(p, equity[n] * (notional[n] / sum(notional))))

    def reduce(self, named: list[tuple[Symbol, float]]) -> None:
        group = self.open(named)
        first = {leg.id: leg.q for p in group for leg in p.legs}
        counted = {self.name(p): sum(map(contracts, p.legs)) for p in group if lot_of(p.symbol)}
        for number in range(self.cross.rounds):
            for p in group:
                if N := counted.get(self.name(p), 0):
                    upto, before = (-(-N * k // self.cross.rounds) for k in (number + 1, number))
                    for leg, d in zip(p.legs, of_each_leg(p, upto - before), strict=True):
                        if d:
                            self.sell("reduce", leg, d)
                    continue
                for leg in p.legs:
                    d = leg.q if number == self.cross.rounds - 1 else first[leg.id] / self.cross.rounds
                    self.sell("reduce", leg, d)
            if self.is_enough():
                return

    def close(self, named: list[tuple[Symbol, float]]) -> None:
        for p in self.open(named):
            for leg in p.legs:
                self.sell("close", leg, leg.q)

    def sell(self, step: str, leg: Leg, d: float) -> None:
        fill = self.P[leg.symbol] * (1 - leg.s * self.cross.slippage)
        self.part(step, leg, d, fill, self.leg_result(leg, d, fill))

    def note(self, step: str, restored: bool | None) -> None:
        money = (self.W, self.least(), *self.needed())
        amounts = (None if amount is None else amount / self.unit for amount in money)
        self.account.steps.append((step, *amounts, len(self.positions()), restored))


def simulate(world: World) -> list[Account]:
    """Return the accounts after the history."""
    for account in world.accounts:
        live(world, account)
    return world.accounts


def live(world: World, account: Account) -> None:
    """Follow an account from open to open."""
    moves = list(account.transfers)
    for bar in range(min(leg.start for leg in account.legs), len(world.grid)):
        for leg in account.legs:
            if leg.end == bar:
                account.W = account.W + leg.result()
        while moves and moves[0][0] <= bar:
            account.W = account.W + moves.pop(0)[1]
        rest = [leg for leg in account.legs if leg.q > 0]
        if all(leg.end is not None and leg.end <= bar for leg in rest):
            account.outcome, account.time = "exited", world.grid[bar]
            return
        if not account.positions(bar):
            continue
        test = Test(world, account, bar)
        if any(symbol.is_stale(world.grid[bar], world.gap_limit) for symbol in test.held):
            account.outcome, account.time = "unknown", world.grid[bar]
            return
        if (found := test.hit()) is not None and liquidate(test, bar, *found):
            return


def liquidate(test: Test, bar: int, P: Prices, triggered: list[Position]) -> bool:
    """Run the procedure; return whether the account was fully closed."""
    account = test.account
    steps = Procedure(test, bar, P, triggered)
    account.triggers.append(test.world.grid[bar])
    steps.run()
    account.W, account.order_margin = steps.W / steps.unit, steps.order_margin / steps.unit
    account.coins = steps.coins
    if account.positions(bar):
        return False
    account.outcome, account.time = "liquidated", test.world.grid[bar]
    account.left = steps.W + steps.order_margin + sum(steps.whole(coin.u * P[coin.symbol]) for coin in steps.coins)
    return True
