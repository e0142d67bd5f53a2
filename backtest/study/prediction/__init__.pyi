from backtest.study.prediction import amplification as amplification
from backtest.study.prediction import crowding as crowding
from backtest.study.prediction import indicators as indicators
from backtest.study.prediction import labels as labels
from backtest.study.prediction import liquidation_at_risk as liquidation_at_risk
from backtest.study.prediction.evaluate import Trial as Trial
from backtest.study.prediction.evaluate import area_under_curve as area_under_curve
