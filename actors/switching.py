"""How long a thread of a role's process may hold Python's lock while another one wants it.

Each call between actors comes in by threads of Ray's, which need the lock before the loop hears of
it. By Python's own 5 ms a call that finds the loop busy waits 8 ms (measured) before anything has
been done for it; with this it waits 0.7. Nothing is paid while nobody waits.
"""

import sys

SWITCH_S = 0.0005


def switch_quickly() -> None:
    """From now on, in this process."""
    sys.setswitchinterval(SWITCH_S)
