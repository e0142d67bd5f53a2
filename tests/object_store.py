"""An object store of this process: just enough of S3 for polars' own readers, over a folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a folder's subfolders as buckets; yield the storage options that lead there."""

    class Handler(Requests):
        root = folder

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "aws_endpoint_url": f"http://127.0.0.1:{server.server_port}",
            "aws_access_key_id": "somebody",
            "aws_secret_access_key": "secret",
            "aws_region": "nowhere",
            "aws_allow_http": "true",
            "aws_virtual_hosted_style_request": "false",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Requests(BaseHTTPRequestHandler):
    """Objects by range, and lists of them."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        address = urlparse(self.path)
        query = parse_qs(address.query)
        if "list-type" in query:
            self._list(unquote(address.path).strip("/"), query.get("prefix", [""])[0])
        else:
            self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.root / unquote(urlparse(self.path).path).strip("/")
        if not path.is_file():
            self._send(404, b"")
            return
        data = path.read_bytes()
        given = self.headers.get("Range")
        if given is None:
            self._send(200, data if body else b"", length=len(data))
            return
        first, last = given.removeprefix("bytes=").split("-")
        start, stop = (
            (int(first), int(last or len(data) - 1) + 1) if first else (max(len(data) - int(last), 0), len(data))
        )
        self._send(206, data[start:stop], extra={"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    def _list(self, bucket: str, prefix: str) -> None:
        base = self.root / bucket
        found = sorted(path.relative_to(base).as_posix() for path in base.rglob("*.parquet"))
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{(base / key).stat().st_size}</Size><ETag>x</ETag>"
            "<LastModified>2021-05-19T00:00:00.000Z</LastModified></Contents>"
            for key in found
            if key.startswith(prefix)
        )
        self._send(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode())

    def _send(
        self, code: int, data: bytes, *, length: int | None = None, extra: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        headers = {
            "Content-Length": str(len(data) if length is None else length),
            "Last-Modified": "Wed, 19 May 2021 00:00:00 GMT",
            "ETag": '"x"',
        }
        for name, value in {**headers, **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
