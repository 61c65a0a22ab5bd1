"""What Ray reads from the environment when it is imported: its token, no usage statistics.

Ray's native library reads `RAY_AUTH_MODE` once, at import; so this runs first, and imports
nothing of Ray.
"""

import os
import secrets
from collections.abc import MutableMapping
from pathlib import Path


def prepare(folder: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Make `folder` (mode 0700) with a token of our own, and name it in the environment.

    A token mode that the operator has set already (a shared cluster) stays.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if environ.get("RAY_AUTH_MODE") or environ.get("RAY_ADDRESS"):
        return
    token = folder / "token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    environ["RAY_AUTH_MODE"] = "token"
    environ["RAY_AUTH_TOKEN_PATH"] = str(token)
