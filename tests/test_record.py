"""Recording of a venue's feed, against a server of the test's own on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from backtest import trades
from backtest.__main__ import main
from backtest.cli.levels.study import recorded_liquidations
from backtest.cli.record import command
from backtest.errors import FetchError
from backtest.market.sources.websocket import GUID, Websocket


def frame(data: bytes, kind: int = 1, last: bool = True) -> bytes:
    """Return an unmasked frame, as servers send it."""
    size = len(data)
    head = bytes([(0x80 if last else 0) | kind])
    head += bytes([size]) if size < 126 else bytes([126]) + struct.pack(">H", size)
    return head + data


def text(message: Any) -> bytes:
    return frame(json.dumps(message).encode())


def event(price: float) -> dict[str, Any]:
    own = {"T": 1_760_130_000_000, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": str(price)}
    return {"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "data": [own]}


SUBSCRIBED = text({"success": True, "ret_msg": "", "op": "subscribe"})


class Server(threading.Thread):
    """Answers one connection after the other, each by its own bytes after the client's first message."""

    def __init__(self, *answers: list[bytes], accept: str | None = None) -> None:
        super().__init__(daemon=True)
        self.answers, self.accept, self.asked = answers, accept, []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"ws://127.0.0.1:{self.listening.getsockname()[1]}"

    def run(self) -> None:
        with suppress(OSError):
            for answer in self.answers:
                connection, _ = self.listening.accept()
                with connection:
                    self.serve(connection, answer)

    def serve(self, connection: socket.socket, answer: list[bytes]) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4_096)
        self.asked.append(head.split(b" ")[1].decode())
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        digest = base64.b64encode(hashlib.sha1(key + GUID.encode()).digest()).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", f"Sec-WebSocket-Accept: {self.accept or digest}", "", "")
        connection.sendall("\r\n".join(lines).encode())
        self.asked.append(unmasked(connection))
        for part in answer:
            connection.sendall(part)


def unmasked(connection: socket.socket) -> str:
    """Return the first message of a client, whose frames are masked."""
    head = connection.recv(2)
    if not head:
        return ""
    assert head[1] & 0x80, "a client masks its frames"
    size = head[1] & 0x7F
    size = struct.unpack(">H", connection.recv(2))[0] if size == 126 else size
    mask = connection.recv(4)
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)).decode()


@contextmanager
def serving(*answers: list[bytes], accept: str | None = None) -> Iterator[Server]:
    server = Server(*answers, accept=accept)
    server.start()
    try:
        yield server
    finally:
        server.listening.close()


def test_messages__in_parts_with_pings_between_are_put_together() -> None:
    long = "x" * 70_000
    parts = [
        frame(b"ab", last=False),
        frame(b"", kind=9),
        frame(b"cd", kind=0),
        bytes([0x81, 127]) + struct.pack(">Q", 70_000),
        long.encode(),
    ]
    with serving(parts) as server, Websocket(server.address, patience=5) as feed:
        feed.send("y" * 200)
        assert feed.receive() == "abcd"
        assert feed.receive() == long
        with pytest.raises(FetchError, match=r"closed the connection|lost the connection"):
            feed.receive()
    assert server.asked[1] == "y" * 200


def test_silence__is_none_and_a_silence_inside_a_message_is_not() -> None:
    with serving([frame(b"ab")[:3]]) as server, Websocket(server.address, patience=0.2) as feed:
        assert feed.receive() is None
        feed.send("go on")
        with pytest.raises(FetchError, match=r"stopped in the middle|closed the connection"):
            feed.receive()


def test_servers__that_are_none_are_refused() -> None:
    with (
        serving([], accept="wrong") as server,
        pytest.raises(FetchError, match=r"refuses the connection: HTTP/1\.1 101"),
    ):
        Websocket(server.address)
    with pytest.raises(FetchError, match="is not the address of a websocket"):
        Websocket("https://example.org")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FetchError, match="cannot be reached"):
        Websocket(f"ws://127.0.0.1:{port}")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(command, "LONGEST_PAUSE", 0.02)


def test_record__keeps_liquidations_across_lost_connections(tmp_path: Path, capsys, monkeypatch) -> None:
    path = tmp_path / "feed.jsonl"
    first = [SUBSCRIBED, text(event(40_000.0)), text({"op": "pong"})]
    with serving(first, [SUBSCRIBED, text(event(41_000.0))]) as server:
        ended = iter([False] * 8)
        monkeypatch.setattr(command._Recorder, "_is_over", lambda self: self.count >= 2 or next(ended, True))
        words = ["record", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--out", str(path)]
        assert main([*words, "--address", server.address]) == 0
    assert server.asked[0] == "/linear"
    assert json.loads(server.asked[1])["args"] == ["allLiquidation.BTCUSDT", "allLiquidation.ETHUSDT"]
    printed = capsys.readouterr()
    assert f"2 liquidations in {path}" in printed.out
    assert "again in" in printed.err
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    states = [line for line in lines if line.get("op") == "recording"]
    assert [state["nothing_since"] is None for state in states] == [True, False]
    assert trades.read_liquidations(path)["price"].to_list() == [40_000.0, 41_000.0]


def test_record__refuses_what_it_cannot_record(tmp_path: Path, capsys) -> None:
    out = ["--out", str(tmp_path / "feed.jsonl")]
    refused = text({"success": False, "ret_msg": "error:handler not found", "op": "subscribe"})
    with serving([refused]) as server:
        assert main(["record", "--symbol", "NOTHING", *out, "--address", server.address]) == 2
    assert "refuses: error:handler not found" in capsys.readouterr().err
    assert main(["record", "--symbol", "BTCUSDT", "--symbol", "BTCUSD", *out]) == 2
    assert "--symbol must all be linear, or all inverse" in capsys.readouterr().err
    assert main(["record", "--symbol", "BTCUSDT", "--out", str(tmp_path / "none" / "feed.jsonl")]) == 2
    assert "which does not exist" in capsys.readouterr().err


def test_levels__takes_a_recorded_feed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text(json.dumps({"op": "recording"}) + "\n" + json.dumps(event(40_000.0)) + "\n")
    found = recorded_liquidations(path)
    assert found.select("symbol", "price", "notional").rows() == [("BTCUSDT", 40_000.0, 20_000.0)]
