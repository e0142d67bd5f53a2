from backtest.rules import margin as margin
from backtest.rules.contract import Contract as Contract
from backtest.rules.cross import Cross as Cross
from backtest.rules.procedure import Impact as Impact
from backtest.rules.procedure import Procedure as Procedure
from backtest.rules.rule_files import venue_files as venue_files
from backtest.rules.tiers import TierTable as TierTable
from backtest.rules.venue import Venue as Venue
