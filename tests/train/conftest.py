"""The networks that the tests of this folder train are small."""

from tests.helpers.threads import one_thread

__all__ = ["one_thread"]
