"""Structured logs: JSON for machines, coloured lines for humans, secrets taken out of both.

Standard output is for results, so logs go to standard error; with a directory also to
`combined.log` and, from level error, to `error.log`. `structlog.contextvars` carries
`request_id` and `correlation_id` into every line that is written while they are bound.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from deploy.logfiles import SharedRotatingFile
from engine.settings import LogSettings

REDACTED = "[redacted]"
SECRET_VALUE_LENGTH_MIN = 8
DEPTH_MAX = 6
QUIET = ("asyncio", "aiohttp.access", "urllib3", "websockets", "pymongo", "engineio", "socketio")

_SECRET_KEY = re.compile(
    r"(private_?key|secret|password|passwd|mnemonic|jwt|authori[sz]ation|bearer|cookie|api_?key"
    r"|(access|refresh|auth|session)_?token$|^token_secret$|^signing_key$|credential)",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    (re.compile(r"(?<=://)[^\s/@]+@"), REDACTED + "@"),  # credentials in a URL
    (re.compile(r"(?<=/v[23]/)[0-9a-zA-Z_-]{16,}"), REDACTED),  # a project id in a node's URL
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REDACTED),  # a JWT
    (re.compile(r"(?i)\bbearer\s+\S+"), "Bearer " + REDACTED),
)
_hidden: set[str] = set()


def configure(settings: LogSettings) -> None:
    """Set logging up for this process; calling it again replaces what was set up."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    as_json = _formatter(shared, [structlog.processors.format_exc_info, redact, _render_json])
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(
        as_json if settings.format == "json" else _formatter(shared, _for_humans())
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(console)
    for file in _files(settings):
        file.setFormatter(as_json)
        root.addHandler(file)
    root.setLevel(settings.level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def get(name: str) -> Any:
    """A logger: `log.info("constant_event_name", field=value)`."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Bind `request_id`, `correlation_id` or others to every line written inside."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def hide(*secrets: str) -> None:
    """Never write these very values, wherever they turn up. Short ones are not taken."""
    _hidden.update(one for one in secrets if len(one) >= SECRET_VALUE_LENGTH_MIN)


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out values under keys that may name a secret, and secrets inside any text."""
    for key, value in event.items():
        event[key] = _clean(key, value, 0)
    return event


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_KEY.search(key):
        return REDACTED
    if isinstance(value, int | float):
        return value
    if depth < DEPTH_MAX and isinstance(value, Mapping):
        return {str(name): _clean(str(name), one, depth + 1) for name, one in value.items()}
    if depth < DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, one, depth + 1) for one in value]
    return _clean_text("0x" + value.hex() if isinstance(value, bytes) else str(value))


def _clean_text(value: str) -> str:
    for pattern, replacement in _SECRET_TEXT:
        value = pattern.sub(replacement, value)
    for secret in _hidden:
        value = value.replace(secret, REDACTED)
    return value


def _formatter(
    shared: list[structlog.typing.Processor], last: list[structlog.typing.Processor]
) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _for_humans() -> list[structlog.typing.Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
    # Tracebacks become text first: redaction must see them.
    return [structlog.processors.format_exc_info, redact, renderer]


def _render_json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    # Not orjson: amounts in wei do not fit 64 bits.
    return json.dumps(event, default=str, ensure_ascii=False)


def _files(settings: LogSettings) -> list[logging.Handler]:
    if not settings.directory:
        return []
    folder = Path(settings.directory)
    folder.mkdir(parents=True, exist_ok=True)
    errors = SharedRotatingFile(folder / "error.log")
    errors.setLevel(logging.ERROR)
    return [SharedRotatingFile(folder / "combined.log"), errors]
