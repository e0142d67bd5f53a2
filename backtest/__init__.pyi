from backtest import book as book
from backtest import chart as chart
from backtest import market as market
from backtest import population as population
from backtest import rules as rules
from backtest import scale as scale
from backtest import study as study
from backtest import trades as trades
from backtest.book import Accounts as Accounts
from backtest.book import Book as Book
from backtest.engine.accounts.cross_prices import account_prices as account_prices
from backtest.engine.accounts.liquidate import liquidate_accounts as liquidate_accounts
from backtest.engine.accounts.sweep import sweep_accounts as sweep_accounts
from backtest.engine.conventions import Conventions as Conventions
from backtest.engine.replay.replay import replay as replay
from backtest.engine.sweep.sweep import sweep as sweep
from backtest.engine.sweep.sweep import tiers_used as tiers_used
from backtest.market import Market as Market
from backtest.rules.calculator import position_prices as position_prices
from backtest.rules.procedure import Impact as Impact
from backtest.rules.procedure import Procedure as Procedure
from backtest.rules.venue import Venue as Venue
from backtest.scale.precompile import warm as warm

__version__: str
