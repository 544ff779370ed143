"""How the suite is shared out among workers."""

import os

import pytest


def test_tests_that_share_something_run_in_one_worker(request: pytest.FixtureRequest) -> None:
    """Otherwise each worker would start the app, and every other server of the tests, for itself."""
    name, _, group = request.node.nodeid.partition("@")
    assert name.endswith("one_worker")
    wanted = "tests/test_workers.py" if "PYTEST_XDIST_WORKER" in os.environ else ""
    assert group == wanted, "run with --dist loadgroup, and with a pytest that pyproject.toml allows"
