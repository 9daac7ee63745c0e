"""Counts round trips: a relay before a server, and how often its client waited for an answer before it said more."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType

CHUNK_BYTES = 1 << 16
TICK_SECONDS = 0.1


class CountedWire:
    """Relays connections to a server on `port`. `round_trips` counts what a client said after it had been answered: what it says
    in one breath is one, however many statements that are."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.round_trips = 0

    def __enter__(self) -> CountedWire:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        self._listener.settimeout(TICK_SECONDS)
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._threads.append(threading.Thread(target=self._relay, args=(client,), daemon=True))
            self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        is_answered = True
        with client, socket.create_connection(self._server) as server, selectors.DefaultSelector() as ready:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(one, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in ready.select(TICK_SECONDS):
                    data = key.fileobj.recv(CHUNK_BYTES)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is client:
                        self.round_trips += is_answered
                        is_answered = False
                        server.sendall(data)
                    else:
                        is_answered = True
                        client.sendall(data)
