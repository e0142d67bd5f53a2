"""Redirects: followed on the host that was asked, and to hosts that are listed."""

from __future__ import annotations

import urllib.request
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from backtest.errors import FetchError


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect unless it leads to an unknown host, or from an encrypted connection to an open one.

    Parameters
    ----------
    hosts : addresses of the known hosts
    """

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._known = {urlsplit(address).netloc.lower() for address in hosts}

    def redirect_request(  # noqa: D102 (its name and arguments are those of urllib)
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        opened = before.scheme == "https" and after.scheme != "https"
        if opened or after.netloc.lower() not in {before.netloc.lower(), *self._known}:
            where = f"{after.scheme}://{after.netloc}"
            raise FetchError(
                f"{req.full_url} was refused: it leads to {where}, which is not a host of the venue's archives"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
