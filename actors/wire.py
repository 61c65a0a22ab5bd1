"""Messages between actors as bytes, made and read by Python's own pickle.

Ray pickles arguments that are objects with cloudpickle, which is written in Python: 0.1 ms and
more a message, each way. Bytes it passes on as they are. What is read comes from actors of the
same cluster, which run the same build (`actors/build.py`) and could run anything anyway.
"""

import pickle
from typing import Any


def packed(message: Any) -> bytes:
    """For `unpacked` in another process."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """What was packed."""
    return pickle.loads(data)  # noqa: S301 (of our own cluster only)
