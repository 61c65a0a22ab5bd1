"""Decisions, pure: no I/O, no clock, no randomness, no actors."""
