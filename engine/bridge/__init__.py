"""The bridge's decisions, pure: what a transfer is, what to do next about it, and when to ask a
node no more."""
