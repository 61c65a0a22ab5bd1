"""What `risecurve bridge …` does: it asks the roles, and both vaults through their nodes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from chain import vault
from chain.failover import FAILURES_MAX, Endpoint, FailoverRpc
from chain.sender import Node
from chain.vault_history import VaultHistory
from chain.vault_logs import VaultDecoder
from chain.vault_view import VaultView
from deploy import bridge_endpoints, bridge_slots
from deploy.commands import Outcome, attached
from deploy.process import StartError
from deploy.session import Session
from engine.bridge.control import CancelQueued, Pause
from engine.bridge.messages import Fate, Message
from engine.bridge.transfers import Terms
from engine.errors import CallerError, RiseCurveError, TransientError
from engine.settings import ChainSettings
from engine.text import address, hex_of, units
from gateway.addresses import parse_hash

PAUSE_TIMEOUT_S = 30.0
CANCEL_TIMEOUT_S = 150.0
"""The guardian offers a transaction five times, for two blocks each: two minutes in Sepolia."""

ROLES = ("relayer", "bridge_checker", "attestor", "vault_listener")

Json = dict[str, Any]


def status() -> Outcome:
    """Vaults, roles, and what is under way; not ok where somebody is halted or away."""

    async def work(run: Session) -> Outcome:
        vaults, roles = await asyncio.gather(_each(run, _terms), _roles(run))
        data = {"vaults": vaults, "roles": roles}
        troubles = _troubles(data)
        lines = [_vault_line(one) for one in vaults]
        lines += [f"{slot}: {_role_line(one)}" for slot, one in sorted(roles.items())]
        return Outcome(
            ok=not troubles,
            data=data | {"troubles": troubles},
            text="\n".join([*lines, *(f"TROUBLE {one}" for one in troubles)]),
        )

    return attached(work)


def pause() -> Outcome:
    """Both vaults, by the checker, which has the guardian's key, whatever the supervisor does."""

    async def work(run: Session) -> Outcome:
        _must_be(run)
        checkers = await run.system.answering("bridge_checker")
        if not checkers:
            raise StartError("No bridge checker answers, and it alone has the guardian's key.")
        done: Mapping[int, bool] = await run.system.cluster.ask(
            checkers[0].name, Pause(), timeout_s=PAUSE_TIMEOUT_S
        )
        chains = [{"chainId": one, "paused": is_so} for one, is_so in sorted(done.items())]
        said = {True: "is paused", False: "COULD NOT BE PAUSED"}
        text = "\n".join(f"The vault on {one} {said[is_so]}." for one, is_so in done.items())
        return Outcome(ok=all(done.values()), data={"chains": chains}, text=text)

    return attached(work, supervised=False)


def cancel(message_id: str, *, unsigned: bool) -> Outcome:
    """A queued message, by the checker; or the call for another guardian to sign."""
    id = parse_hash(message_id)
    return attached(lambda run: cancelled(run, id, unsigned=unsigned), supervised=False)


async def cancelled(run: Session, id: bytes, *, unsigned: bool) -> Outcome:
    """The same of a system that is known; what is cancelled already is said to be. Raises
    CallerError: not_found, invalid_request; TransientError: not cancelled as far as is known, and
    it may be asked again.
    """
    _must_be(run)
    if unsigned:
        return await _unsigned(run, id)
    checkers = await run.system.answering("bridge_checker")
    if not checkers:
        raise StartError("No bridge checker answers; with --unsigned another guardian can do it.")
    try:
        chain_id: int = await run.system.cluster.ask(
            checkers[0].name, CancelQueued(id), timeout_s=CANCEL_TIMEOUT_S
        )
    except TransientError as error:
        # It may have been mined all the same: the vaults know.
        found = await _cancelled_on(run, id)
        if found is None:
            text = f"{error.message}; it is not cancelled as far as is known, ask again"
            raise TransientError(error.code, text) from error
        chain_id = found
    return _is_cancelled(id, chain_id)


def signers() -> Outcome:
    """The signer set of each vault, beside the attestors that run here."""

    async def work(run: Session) -> Outcome:
        vaults, roles = await asyncio.gather(_each(run, _signers), _roles(run))
        ours = {
            one["address"].lower(): slot
            for slot, one in roles.items()
            if one is not None and slot.startswith("attestor-")
        }
        for one in vaults:
            one["signers"] = [
                {"address": shown, "attestor": ours.get(shown.lower())} for shown in one["signers"]
            ]
        lines = []
        for one in vaults:
            lines.append(
                f"chain {one['chainId']}: {one['threshold']} of {len(one['signers'])},"
                f" epoch {one['epoch']}"
            )
            lines += [
                f"  {signer['address']}  {signer['attestor'] or 'not here'}"
                for signer in one["signers"]
            ]
        return Outcome(data={"vaults": vaults}, text="\n".join(lines))

    return attached(work)


# ------------------------------------------------------------------------ parts


def _must_be(run: Session) -> None:
    absent = bridge_slots.absence(run.settings)
    if absent:
        raise StartError(f"There is no bridge here: {absent}.")


def _is_cancelled(id: bytes, chain_id: int) -> Outcome:
    text = f"{hex_of(id)} is cancelled on {chain_id}; it is refunded once that is final."
    return Outcome(data={"id": hex_of(id), "chainId": chain_id, "cancelled": True}, text=text)


async def _cancelled_on(run: Session, id: bytes) -> int | None:
    try:
        fates = await _each(run, partial(_fate, id))
    except TransientError:
        return None
    return next((one["chainId"] for one in fates if one["fate"] is Fate.CANCELLED), None)


async def _unsigned(run: Session, id: bytes) -> Outcome:
    found = [one for one in await _each(run, partial(_deposited, id)) if one["message"]]
    if not found:
        text = "Expected a message that was deposited at one of the vaults"
        raise CallerError("not_found", text)
    message: Message = found[0]["message"]
    fates = await _each(run, partial(_fate, id))
    (fate,) = (one["fate"] for one in fates if one["chainId"] == message.target_chain)
    if fate is Fate.CANCELLED:
        return _is_cancelled(id, message.target_chain)
    if fate is not Fate.QUEUED:
        raise CallerError("invalid_request", f"Expected a queued message, was {fate.name}")
    data = {
        "chainId": message.target_chain,
        "to": address(message.target_vault),
        "value": "0x0",
        "data": hex_of(vault.cancel_queued(message)),
    }
    return Outcome(data=data, text="\n".join(f"{name}: {value}" for name, value in data.items()))


async def _deposited(id: bytes, view: VaultView, chain: ChainSettings) -> Json:
    del view
    one = chain.vault
    assert one is not None, "Expected a vault"
    rpc = _nodes(chain)
    decoder = VaultDecoder(chain.chain_id, one.address, one.version)
    history = VaultHistory(rpc, decoder, vault=one.address, first_block=one.first_block)
    try:
        await _awake(rpc)
        return {"message": await history.message(id)}
    finally:
        await rpc.close()


async def _fate(id: bytes, view: VaultView, chain: ChainSettings) -> Json:
    del chain
    return {"fate": await view.fate(id)}


async def _each(
    run: Session, ask: Callable[[VaultView, ChainSettings], Awaitable[Json]]
) -> list[Json]:
    _must_be(run)
    found = []
    for name in bridge_slots.SLOTS.values():
        chain: ChainSettings = getattr(run.settings, name)
        assert chain.vault is not None, "Expected a vault"
        rpc = _nodes(chain)
        try:
            await _awake(rpc)
            view = VaultView(Node(rpc, chain), address=chain.vault.address)
            place = {"chainId": chain.chain_id, "vault": address(chain.vault.address)}
            found.append(place | await ask(view, chain))
        finally:
            await rpc.close()
    return found


def _nodes(chain: ChainSettings) -> FailoverRpc:
    # All of them, as the roles do: one that is away is no trouble of the vault's.
    urls = bridge_endpoints.shared(chain)
    return FailoverRpc([Endpoint(url) for url in urls], timeout_s=chain.rpc_timeout_s)


async def _awake(rpc: FailoverRpc) -> None:
    # One that is away is turned from after so many questions, and a command asks each once.
    for _ in range(FAILURES_MAX):
        with contextlib.suppress(TransientError):
            await rpc.call("eth_blockNumber")
            return


async def _terms(view: VaultView, chain: ChainSettings) -> Json:
    try:
        terms: Terms = await view.terms(chain.chain_id)
    except RiseCurveError as error:
        # Said of this end only: the other one and the roles are wanted most just then. The words of
        # a node may hold its key, our own of an old vault do not.
        return {"trouble": error.message if error.code == "bridge_unavailable" else error.code}
    return {
        "paused": terms.paused,
        "pool": units(terms.pool),
        "limit": units(terms.limit),
        "windowLeft": units(terms.left),
        "minimum": units(terms.minimum),
        "feeBps": terms.fee_bps,
    }


async def _signers(view: VaultView, chain: ChainSettings) -> Json:
    del chain
    found = await view.signers()
    return {
        "threshold": found.threshold,
        "epoch": found.epoch,
        "signerSet": hex_of(found.set_hash),
        "signers": [address(one) for one in found.addresses],
    }


async def _roles(run: Session) -> dict[str, Json | None]:
    wanted = set(bridge_slots.slots(run.settings)) | {
        one.slot for one in (await run.system.directory()).instances if one.role in ROLES
    }
    answers = await run.system.role_status()
    return {slot: answers.get(slot) for slot in sorted(wanted)}


def _troubles(data: Json) -> list[str]:
    vaults = data["vaults"]
    found = [f"the vault on {one['chainId']} is paused" for one in vaults if one.get("paused")]
    found += [_untold(one) for one in vaults if "trouble" in one]
    for slot, one in data["roles"].items():
        if one is None:
            found.append(f"{slot} does not answer")
            continue
        said = [name for name in ("halted", "closed", "alarm", "disagreement") if one.get(name)]
        # Of an attestor; the others say why as well.
        said = said or [name for name in ("stopped",) if one.get(name)]
        found += [f"{slot} {name}: {one[name]}" for name in said]
    return found


def _untold(one: Json) -> str:
    return f"the vault on {one['chainId']} could not be asked: {one['trouble']}"


def _vault_line(one: Json) -> str:
    if "trouble" in one:
        return _untold(one)
    return (
        f"chain {one['chainId']}: {'PAUSED' if one['paused'] else 'open'}, {one['pool']} ETH there,"
        f" {one['windowLeft']} of {one['limit']} may leave now, deposits from {one['minimum']},"
        f" fee {one['feeBps']} bps"
    )


def _role_line(one: Json | None) -> str:
    if one is None:
        return "does not answer"
    shown = ("tip", "finalised", "attested", "checked", "violations", "requests", "done")
    return "  ".join(f"{name} {one[name]}" for name in shown if name in one) or "runs"
