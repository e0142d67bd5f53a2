from backtest.study.calibration.fitting import Fit as Fit
from backtest.study.calibration.fitting import fit as fit
from backtest.study.calibration.plain_predictors import baselines as baselines
from backtest.study.calibration.rank_scores import scores as scores
from backtest.study.calibration.records import by_day as by_day
from backtest.study.calibration.records import daily_records as daily_records
from backtest.study.calibration.validation import validate as validate
