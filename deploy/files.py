"""Small files that a crash leaves whole."""

import os
import tempfile
from pathlib import Path


def write_atomic(file: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `file` as a whole: a reader, or a crash, sees the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary_file = Path(name)
    try:
        with os.fdopen(handle, "wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        temporary_file.chmod(mode)
        temporary_file.replace(file)
    finally:
        temporary_file.unlink(missing_ok=True)
