"""A headless browser that opens a page, moves about in it, and reports what it found; skipped without one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest


def driven(html: str, driver: str, folder: Path, size: str = "1440,900") -> dict[str, Any]:
    """Return what a browser found that moves about in a page, driven by a script of ``data``."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("there is no chromium here")
    catcher = "<script>window.failures = []; addEventListener('error', e => failures.push(e.message));</script>"
    script = (Path(__file__).parent / "data" / driver).read_text("utf-8")
    page = folder / "page.html"
    page.write_text(
        html.replace("<main>", f"{catcher}<main>", 1).replace("</body>", f"<script>{script}</script></body>"),
        "utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    shown = subprocess.run(
        [browser, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert found, shown.stdout[-500:]
    return json.loads(unescape(found[1]))
