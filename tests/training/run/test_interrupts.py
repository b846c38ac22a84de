"""A run that is being saved by the thread that gives an update up ends there, and not on its own way out as well."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="needs the extra train")

PROGRAM = """if True:
    import os, signal, time
    from training.run import interrupts

    interrupts.PATIENCE = 0.05

    def save():
        time.sleep(0.5)
        print("saved", flush=True)

    with interrupts.deferred_interrupts(save):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
    print("went on")
"""


def test_run_waits_for_the_thread_that_saves_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "saved\n"
