"""A process that is slow is told from one that stands still."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from actors.working import Working


@contextlib.contextmanager
def child(code):
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def looks(pid):
    working = Working()
    found = []
    for _ in range(4):
        found.append(working.is_busy(pid))
        time.sleep(0.1)
    return found


def test_process_that_computes_is_busy_and_not_once_it_is_stopped():
    with child("print(flush=True)\nwhile True: pass") as pid:
        assert all(looks(pid))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.1)
        assert looks(pid)[1:] == [False] * 3


def test_process_that_waits_for_something_is_not_busy():
    with child("import time\nprint(flush=True)\ntime.sleep(60)") as pid:
        assert not any(looks(pid)[1:])


def test_process_that_is_gone_is_not_busy():
    with child("print(flush=True)") as pid:
        pass
    assert not any(looks(pid))
