"""Bounds of time beside other tests."""

import os

SLACK = 4 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""How many times larger bounds of time are where other tests run beside these, on processors that both need. Alone, as
in ``make test-faults``, the bounds are those that the READMEs state."""
CPU_SLACK = 1.5 if SLACK > 1 else 1.0
"""The same for bounds of processor time, which grows where processes share a core and its cache."""
