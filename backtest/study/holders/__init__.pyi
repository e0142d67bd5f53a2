from backtest.engine.accounts.alerts import replay_alerts as replay_alerts
from backtest.engine.sweep.top_up import sweep_with_top_ups as sweep_with_top_ups
from backtest.study.holders import alerts as alerts
from backtest.study.holders import hedges as hedges
from backtest.study.holders import options as options
from backtest.study.holders import precautions as precautions
from backtest.study.holders.account_paths import account_path as account_path
from backtest.study.holders.open_positions import nearness as nearness
