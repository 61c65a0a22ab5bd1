"""The logger of a role."""

from typing import Any

from actors.host import Context
from deploy import logs


def log_of(context: Context) -> Any:
    """The logger of a role; it hides what it must."""
    media = context.settings.media
    for secret in (context.settings.gateway.jwt_secret, media.key_id, media.secret_key):
        logs.hide(secret)
    logs.configure(context.settings.logs)
    return logs.get(context.role).bind(slot=context.slot)
