"""Exact curve maths in pure integers: the Python twins of `chain/contracts`."""
