"""The composition root: which adapters each role is built from. Nothing else names them.

A module a role, since each role runs in a process of its own and loads what it needs alone. Each
`build` gets a `Context` and answers with a built `Role`; it returns when the role is ready, ports
bound. A failing one fails the start of the actor.
"""

RECORDER_NICE = 10
"""On a small machine history yields the processor to quotes and ticks."""
