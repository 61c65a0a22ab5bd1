"""Whether the bridge runs here, and the places of its roles. Light: every role loads it."""

from engine.settings import Settings

SLOTS = {"vault-rise": "rise", "vault-sepolia": "sepolia"}


def refusal(settings: Settings) -> str:
    """Why the bridge does not run here, empty if it does."""
    given = settings.bridge
    wanted = {
        "ATTESTOR_KEYSTORES: nobody would attest": given.attestors,
        "RELAYER_KEY or PRIVATE_KEY: nobody would pay for releases": given.relayer_key,
        "GUARDIAN_KEY: nobody could pause the vaults": given.guardian_key,
    }
    missing = next((f"Expected {name}" for name, value in wanted.items() if not value), "")
    return absence(settings) or missing


def absence(settings: Settings) -> str:
    """Why there is no bridge to speak of, whoever has its keys; empty if there is one."""
    if not settings.bridge.runs:
        return "BRIDGE is off"
    sepolia = settings.sepolia
    if sepolia is None or sepolia.vault is None or settings.rise.vault is None:
        return "Expected a vault in the deployments of both chains"
    for chain in (settings.rise, sepolia):
        if chain.finality_mode != "tag":
            return (
                f"Expected FINALITY_MODE=tag, was {chain.finality_mode}: the bridge relies on"
                " what the node itself calls final"
            )
    return ""


def slots(settings: Settings) -> dict[str, str]:
    """The bridge's places to fill; none where it does not run."""
    if refusal(settings):
        return {}
    attestors = {f"attestor-{number}": "attestor" for number in range(settings.bridge.attestors)}
    listeners = dict.fromkeys(SLOTS, "vault_listener")
    return {**listeners, **attestors, "relayer": "relayer", "bridge-checker": "bridge_checker"}
