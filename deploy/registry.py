"""The registry of what is deployed on a chain: `deployments/<chainId>.json`.

`{chainId, genesisHash, launchpads: [{address, lens, firstBlock, version}], weth, factory,
router, vault}`, with `{address, firstBlock, version}` or null as the vault; more keys may stand
beside them and are kept as they are.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from deploy.files import write_atomic
from deploy.process import StartError
from engine.errors import CallerError
from engine.settings import Deployment, VaultDeployment
from gateway.addresses import parse_address

_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
VERSIONS = (1, 2)
"""Launchpad versions that this build can decode."""
VAULT_VERSIONS = (1,)
"""Vault versions that this build can decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One chain's file, checked. `vault` is None where the bridge has no end."""

    chain_id: int
    genesis_hash: bytes
    launchpads: tuple[Deployment, ...]
    weth: bytes
    factory: bytes
    router: bytes
    vault: VaultDeployment | None


def path(folder: Path, chain_id: int) -> Path:
    """The file of a chain under `folder` (the clone, or the data folder of a devnet)."""
    return folder / "deployments" / f"{chain_id}.json"


def read(file: Path, *, chain_id: int | None = None) -> Entry:
    """The checked entry. Raises StartError: no such file, not JSON, all faults at once."""
    try:
        document = orjson.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise StartError(
            f"There is no deployments file {file}; run `risecurve deploy` or set DEPLOYMENTS_FILE."
        ) from error
    except orjson.JSONDecodeError as error:
        raise StartError(f"The deployments file {file} is not JSON: {error}.") from error
    return parse(document, name=str(file), chain_id=chain_id)


def vault(file: Path) -> dict[str, Any] | None:
    """The vault that a file names already, as it stands in it; None where there is no file.

    Raises StartError: not JSON, or not a deployments file.
    """
    if not file.exists():
        return None
    read(file)
    found: dict[str, Any] | None = orjson.loads(file.read_bytes()).get("vault")
    return found


def older(file: Path) -> list[dict[str, Any]]:
    """The launchpads that a file names already, as they stand in it; none where it is not there.

    Raises StartError: not JSON, or not a deployments file.
    """
    if not file.exists():
        return []
    read(file)
    found: list[dict[str, Any]] = orjson.loads(file.read_bytes())["launchpads"]
    return found


def write(file: Path, document: Mapping[str, Any]) -> Entry:
    """Check the document and replace the file as a whole. Raises StartError, file untouched."""
    entry = parse(document, name=str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, orjson.dumps(dict(document), option=orjson.OPT_INDENT_2) + b"\n")
    return entry


def parse(document: Any, *, name: str = "the entry", chain_id: int | None = None) -> Entry:
    """An entry from JSON values; `chain_id` is the one it must have, if given.

    Raises StartError that names every fault.
    """
    check = _Check(document if isinstance(document, dict) else {})
    launchpads = check.field("launchpads", _launchpads)
    entry = {
        "chain_id": check.field("chainId", _whole),
        "genesis_hash": check.field("genesisHash", _hash),
        "launchpads": launchpads,
        "weth": check.field("weth", parse_address),
        "factory": check.field("factory", parse_address),
        "router": check.field("router", parse_address),
        "vault": check.field("vault", _vault) if check.document.get("vault") else None,
    }
    if chain_id is not None and entry["chain_id"] not in (None, chain_id):
        check.faults.append(f"chainId: expected {chain_id}, was {entry['chain_id']}")
    if check.faults:
        raise StartError(f"The deployments file {name} is wrong: {'; '.join(check.faults)}.")
    return Entry(**entry)


class _Check:
    def __init__(self, document: dict[str, Any], prefix: str = "") -> None:
        self.document = document
        self.prefix = prefix
        self.faults: list[str] = []

    def field(self, name: str, read: Callable[[Any], Any]) -> Any:
        try:
            return read(self.document[name])
        except KeyError:
            self.faults.append(f"{self.prefix}{name}: is missing")
        except CallerError as error:
            self.faults.append(f"{self.prefix}{name}: {error.message}")
        except (TypeError, ValueError) as error:
            self.faults.append(f"{self.prefix}{name}: {error}")
        return None


def _launchpads(value: Any) -> tuple[Deployment, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected at least one launchpad")
    found = tuple(_launchpad(index, one) for index, one in enumerate(value))
    versions = [one.version for one in found]
    if versions != sorted(set(versions)):
        raise ValueError(f"expected versions to grow, was {versions}")
    return found


def _launchpad(index: int, value: Any) -> Deployment:
    check = _Check(value if isinstance(value, dict) else {}, f"{index}.")
    fields = {
        "address": check.field("address", parse_address),
        "lens": check.field("lens", parse_address),
        "first_block": check.field("firstBlock", _whole),
        "version": check.field("version", partial(_version, known=VERSIONS)),
    }
    if check.faults:
        raise ValueError(", ".join(check.faults))
    return Deployment(**fields)


def _vault(value: Any) -> VaultDeployment:
    check = _Check(value if isinstance(value, dict) else {})
    fields = {
        "address": check.field("address", parse_address),
        "first_block": check.field("firstBlock", _whole),
        "version": check.field("version", partial(_version, known=VAULT_VERSIONS)),
    }
    if check.faults:
        raise ValueError(", ".join(check.faults))
    return VaultDeployment(**fields)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number from 0, was {value!r}")
    return value


def _version(value: Any, known: tuple[int, ...]) -> int:
    if value not in known or type(value) is not int:
        raise ValueError(f"expected a version of {known}, was {value!r}")
    return value


def _hash(value: Any) -> bytes:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("expected 0x and 64 hex digits")
    return bytes.fromhex(value[2:])
