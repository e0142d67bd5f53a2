"""A client of websockets (RFC 6455): one connection, text messages in, text messages out."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
from typing import Self
from urllib.parse import urlsplit

from backtest.errors import FetchError

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUED, TEXT, CLOSED, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA

#: Largest message that is taken, bytes; feeds send kilobytes.
LARGEST = 16 * 1024**2


class Websocket:
    """An open connection.

    Raises
    ------
    FetchError
        Where there is no connection, the server refuses it, breaks the protocol or closes it.
    """

    def __init__(self, address: str, *, patience: float = 20.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise FetchError(f"{address} is not the address of a websocket: ws:// or wss://")
        self.address, self._held = address, b""
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        try:
            self._socket = socket.create_connection((parts.hostname, port), timeout=patience)
        except OSError as error:
            raise FetchError(f"{address} cannot be reached: {error}") from None
        try:
            if parts.scheme == "wss":
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
            self._shake_hands(path, parts.netloc)
        except (OSError, FetchError) as error:
            self._socket.close()
            raise (
                error if isinstance(error, FetchError) else FetchError(f"{address} cannot be reached: {error}")
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, text: str) -> None:
        """Send a text message."""
        self._send(TEXT, text.encode())

    def receive(self) -> str | None:
        """Return the next text message; None where none came within the connection's patience."""
        parts = bytearray()
        while True:
            frame = self._frame(started=bool(parts))
            if frame is None:
                return None
            last, kind, data = frame
            if kind == PING:
                self._send(PONG, data)
            elif kind == CLOSED:
                raise FetchError(f"{self.address} closed the connection")
            elif kind in (TEXT, CONTINUED):
                parts += data
                if len(parts) > LARGEST:
                    raise FetchError(f"{self.address} sent a message of more than {LARGEST:,} bytes")
                if last:
                    return parts.decode("utf-8", "replace")

    def _shake_hands(self, path: str, host: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
        )  # fmt: skip
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._held:
            more = self._socket.recv(4_096)
            if not more or len(self._held) > 65_536:
                raise FetchError(f"{self.address} does not answer as a websocket")
            self._held += more
        head, self._held = self._held.split(b"\r\n\r\n", 1)
        first, *rest = head.decode("latin-1").split("\r\n")
        named = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        expected = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
        if " 101 " not in f"{first} " or named.get("sec-websocket-accept") != expected:
            raise FetchError(f"{self.address} refuses the connection: {first.strip()[:100]}")

    def _send(self, kind: int, data: bytes) -> None:
        size = len(data)
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65_536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        mask = os.urandom(4)
        try:
            self._socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))
        except OSError as error:
            raise FetchError(f"{self.address} lost the connection: {error}") from None

    def _frame(self, *, started: bool) -> tuple[bool, int, bytes] | None:
        """Return whether a frame is the last of its message, its kind and data; None after a silence."""
        head = self._take(2, quiet=not started)
        if head is None:
            return None
        kind, size = head[0] & 0x0F, head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self._whole(2 if size == 126 else 8), "big")
        if size > LARGEST:
            raise FetchError(f"{self.address} sent a message of more than {LARGEST:,} bytes")
        mask = self._whole(4) if head[1] & 0x80 else b""
        data = self._whole(size)
        if mask:
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        return bool(head[0] & 0x80), kind, data

    def _whole(self, size: int) -> bytes:
        found = self._take(size, quiet=False)
        return b"" if found is None else found

    def _take(self, size: int, *, quiet: bool) -> bytes | None:
        """Return the next bytes; None where ``quiet`` allows a silence before the first of them."""
        try:
            while len(self._held) < size:
                more = self._socket.recv(65_536)
                if not more:
                    raise FetchError(f"{self.address} closed the connection")
                self._held += more
        except TimeoutError:
            if quiet and not self._held:
                return None
            raise FetchError(f"{self.address} stopped in the middle of a message") from None
        except OSError as error:
            raise FetchError(f"{self.address} lost the connection: {error}") from None
        found, self._held = self._held[:size], self._held[size:]
        return found
