"""The key of one attestor: out of an encrypted file, or one of the devnet's, which all know.

No message and no error names a key or a passphrase.
"""

from pathlib import Path

import orjson
from eth_account import Account

from chain.account import DigestKey
from deploy import logs
from deploy.process import StartError
from deploy.settings import is_devnet_account
from engine.settings import Settings


def attestor(settings: Settings, slot: str) -> DigestKey:
    """The key of `slot`. Raises StartError: no such file, a wrong passphrase, a known key."""
    bridge = settings.bridge
    if bridge.attestor_keystores:
        for file in (bridge.attestor_keystores[0], bridge.attestor_passphrase_file):
            _must_be_private(file, refused=settings.app_env == "production")
        key = _decrypted(bridge.attestor_keystores[0], bridge.attestor_passphrase_file)
    elif bridge.attestor_keys:
        key = bytes.fromhex(bridge.attestor_keys[0].removeprefix("0x"))
    else:
        raise StartError(f"Expected a keystore for {slot}, was none.")
    logs.hide(key.hex())
    address = str(Account.from_key(key).address)
    if settings.app_env == "production" and is_devnet_account(address):
        raise StartError(f"Expected a key of your own for {slot}, it is one of anvil's known keys.")
    return DigestKey(key)


def _must_be_private(file: str, *, refused: bool) -> None:
    try:
        mode = Path(file).stat().st_mode & 0o777
    except OSError:
        return  # what opens it says so
    if not mode & 0o077:
        return
    if refused:
        raise StartError(f"Expected {file} to be its owner's alone (mode 0600), was {mode:04o}.")
    logs.get("attestor").warning("key_file_open_to_others", file=file, mode=f"{mode:04o}")


def _decrypted(keystore: str, passphrase_file: str) -> bytes:
    try:
        document = orjson.loads(Path(keystore).read_bytes())
        passphrase = Path(passphrase_file).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise StartError(f"Expected a keystore {keystore} and its passphrase: {kind}.") from error
    try:
        return bytes(Account.decrypt(document, passphrase))
    except Exception as error:
        # The library raises several kinds; what they say may hold parts of the file.
        kind = type(error).__name__
        raise StartError(f"Expected {keystore} to open with its passphrase: {kind}.") from None
