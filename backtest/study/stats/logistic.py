"""Logistic regression by Newton's method, on ranks: enough to combine a handful of indicators.

Each feature is replaced by the log-odds of its rank among the training rows, so that no unit, tail or monotone
transformation of an indicator matters. A ridge keeps the coefficients finite where a feature separates the rows.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.types import Flags, Floats

RIDGE = 1.0
STEPS = 50
CLOSE_ENOUGH = 1e-10


def fitted(training: Floats, exceeds: Flags, test: Floats) -> Floats:
    """Return the log-odds of an event in test rows, fitted on training rows.

    Parameters
    ----------
    training : (n, features)
    exceeds : (n,) of the training rows; some do and some do not
    test : (m, features)

    Returns
    -------
    (m,)
    """
    design, probed = (_design(training, rows) for rows in (training, test))
    return probed @ coefficients(design, exceeds)


def coefficients(design: Floats, exceeds: Flags) -> Floats:
    """Return the coefficients of the largest log-likelihood less half their squared length, the first excepted.

    Parameters
    ----------
    design : (n, k) the first column ones
    exceeds : (n,)
    """
    ridge = np.full(design.shape[1], RIDGE)
    ridge[0] = 0.0
    found = np.zeros(design.shape[1])
    found[0] = np.log(exceeds.mean() / (1 - exceeds.mean()))
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-(design @ found)))
        slope = design.T @ (exceeds - chance) - ridge * found
        curvature = (design.T * (chance * (1 - chance))) @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        found = found + step
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return found


def _design(training: Floats, rows: Floats) -> Floats:
    """Return (m, 1 + features) ones, and the log-odds of each value's rank among the training rows."""
    count = len(training)
    columns = [np.ones(len(rows))]
    for known, values in zip(training.T, rows.T, strict=True):
        ordered = np.sort(known)
        below = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
        columns.append(np.log((below + 0.5) / (count - below + 0.5)))
    return np.stack(columns, axis=1)
