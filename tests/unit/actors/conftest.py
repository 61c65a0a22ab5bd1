"""Fixtures of the listener's tests; the backoff is quick for all roles."""

from tests.support.listener_world import quick_backoff, world

__all__ = ["quick_backoff", "world"]
