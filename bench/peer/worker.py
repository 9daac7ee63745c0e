"""One of the peer's worker processes: Dramatiq's own Worker over both queues.

python -m bench.peer.worker    settings: PEER_BROKER_URL, PEER_DATABASE_URL, PEER_PREFIX, PEER_THREADS
"""

from __future__ import annotations

import os
import signal
import threading

from dramatiq import Worker

from bench.peer.actors import Actors, broker
from bench.peer.tables import connect

STOP_MS_MAX = 10_000


def main() -> None:
    threads = int(os.environ["PEER_THREADS"])
    rabbit = broker(os.environ["PEER_BROKER_URL"])
    engine = connect(os.environ["PEER_DATABASE_URL"], threads)
    Actors(rabbit, os.environ["PEER_PREFIX"], engine)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    worker = Worker(rabbit, worker_threads=threads)
    worker.start()
    stopped.wait()
    worker.stop(timeout=STOP_MS_MAX)
    rabbit.close()
    engine.dispose()


if __name__ == "__main__":
    main()
