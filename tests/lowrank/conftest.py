"""The tests of this folder multiply small matrices."""

from tests.helpers.threads import one_thread

__all__ = ["one_thread"]
