"""A folder of data of the tests' own, so that no imported tier table of a developer changes a result."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

os.environ["BACKTEST_DATA"] = tempfile.mkdtemp(prefix="backtest-tests-")
atexit.register(shutil.rmtree, os.environ["BACKTEST_DATA"], ignore_errors=True)
