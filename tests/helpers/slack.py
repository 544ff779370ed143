"""Bounds of time beside other tests."""

import os

SLACK = 4 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""How many times larger bounds of time are where other tests run beside these, on processors that both need. Alone, as
in ``make test-faults``, the bounds are those that the READMEs state."""
