"""Tests. Two run at a time, so each computes with one thread, and a thread that waits leaves its core to others:
threads that spin while they wait for one make the suite several times slower. torch reads this when it is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
