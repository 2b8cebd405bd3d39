"""Processor time is counted where it was used, and once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench import cpu

BUSY = """
import os, sys, threading, time

def burn(seconds):
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass

def report():
    os.write(1, b"%f\\n" % time.process_time())

if os.fork() == 0:      # a child that ends and is waited for
    burn(0.05); report(); os._exit(0)
os.wait()
if os.fork() == 0:      # a child that stays
    burn(0.05); report(); sys.stdin.read(); os._exit(0)
thread = threading.Thread(target=burn, args=(0.05,))
thread.start(); thread.join()
burn(0.05); report(); sys.stdin.read()
"""
"""Burns processor time in every way that has to be found, and says how much, per process."""

TOLERANCE = 0.04
"""Seconds: what children used that were waited for is known in ticks, user and system apart."""


@pytest.mark.skipif(not cpu.HAS_PROC, reason="needs Linux's /proc")
def test_threads_children_and_ended_children_all_count():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = sum(float(process.stdout.readline()) for _ in range(3))

        measured = cpu.processor_time([process.pid])
        tree = cpu.living_tree(process.pid)

        process.stdin.close()

    assert measured == pytest.approx(said, abs=TOLERANCE)
    assert len(tree) == 2
    assert process.pid in tree


def test_descendants_are_found_whatever_their_depth_and_strangers_are_not():
    processes = {
        pid: cpu.ProcessTimes(parent=parent, reaped=0.0)
        for pid, parent in {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}.items()
    }

    assert cpu.descendants([10], processes) == {10, 11, 12}
    assert cpu.descendants([11, 20], processes) == {11, 12, 20, 21}
    assert cpu.descendants([99], processes) == set()


def test_a_name_with_spaces_and_parentheses_does_not_confuse_the_columns():
    line = "42 (pgpool: (wait) x) S 7 42 42 0 -1 0 1 2 3 4 500 600 70 80 20 0 1 0 12345 0 0"

    times = cpu.parse_process_times(line)

    assert times.parent == 7
    assert times.reaped == pytest.approx((70 + 80) / cpu.TICKS)


def test_the_machine_is_busy_when_it_neither_idles_nor_waits_for_a_disk():
    times = cpu.parse_machine_times("cpu  100 20 30 9999 8888 4 5 60 50 0")

    assert times.busy == pytest.approx((100 + 20 + 30 + 4 + 5) / cpu.TICKS)
    assert times.stolen == pytest.approx(60 / cpu.TICKS)
