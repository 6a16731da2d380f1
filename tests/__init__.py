"""Tests. Two run at a time, so each computes with one thread, and a thread that waits leaves its core to others: threads
that spin while they wait for a core make the suite several times slower. Read before torch and numpy are imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
