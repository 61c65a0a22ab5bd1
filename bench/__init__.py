"""Benches: figures of this machine, each as a ratio to a peer in the same run."""
