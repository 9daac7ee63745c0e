"""A deadline that holds for code that never returns; and threads are not made for each call."""

from __future__ import annotations

import threading
import time
from threading import Event, get_ident

import pytest

from twofold.processes.bounded import BoundedThreads, NoAnswer


def test_what_is_returned_and_raised_comes_through() -> None:
    threads = BoundedThreads()
    assert threads.run("a", lambda: 7, 5.0) == 7
    with pytest.raises(TimeoutError, match="of its own"):
        threads.run("a", lambda: _raise(TimeoutError("of its own")), 5.0)
    with pytest.raises(SystemExit):
        threads.run("a", lambda: _raise(SystemExit(3)), 5.0)
    assert threads.left_behind("a") == 0


def test_calls_of_one_thread_run_in_one_thread() -> None:
    threads = BoundedThreads()
    assert len({threads.run("a", get_ident, 5.0) for _ in range(20)}) == 1


def test_who_does_not_answer_in_time_is_left_behind_and_counted_until_he_ends() -> None:
    threads, ending = BoundedThreads(), Event()
    for _ in range(3):
        with pytest.raises(NoAnswer):
            threads.run("a", ending.wait, 0.02)
    assert (threads.left_behind("a"), threads.left_behind("b")) == (3, 0)
    assert threads.run("a", lambda: "next", 5.0) == "next"
    ending.set()
    deadline = time.monotonic() + 5
    while threads.left_behind("a"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_thread_that_ends_takes_its_runner_with_it() -> None:
    threads = BoundedThreads()

    def call() -> None:
        threads.run("a", get_ident, 5.0)

    callers = [threading.Thread(target=call) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    deadline = time.monotonic() + 5
    while [thread for thread in threading.enumerate() if thread.name == "bounded"]:
        assert time.monotonic() < deadline, "runners that nobody has"
        time.sleep(0.01)


def _raise(error: BaseException) -> None:
    raise error
