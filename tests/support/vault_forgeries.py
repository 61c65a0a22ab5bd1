"""Every way of being paid without right that we could think of: each must be refused.

Digests come from the vault itself where it tells them, so that a vault with a weaker digest is
tried as its own attestors would use it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from eth_hash.auto import keccak

from tests.model.vault import FIELDS, HOUR, Message, message_id
from tests.support.evm import Reverted
from tests.support.vault_bench import (
    FIRST_USER,
    LIMIT,
    OWNER,
    PEER_CHAIN,
    PEER_VAULT,
    PROVIDER,
    Bench,
    Step,
    release_data,
)
from tests.support.vault_signing import SPOILED, Key, attestors, digest

Try = tuple[str, bytes]
ETHER = 10**18
MAX = 2**256 - 1


class Forger:
    """One message that may be released and one deposit that may be refunded, and their forgeries.

    `tried` counts, `accepted` names those that went through.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.vault = bench, bench.vault
        self.chain_id = int(bench.chain.rpc("eth_chainId"), 16)
        self.keys = list(attestors()[:3])
        self.tried, self.accepted, self.barred = 0, list[str](), list[str]()
        self._fund()
        self.message = self.inbound(1, ETHER)
        self.id = message_id(self.message)

    def run(self) -> list[str]:
        """The forgeries that were accepted. What is right must be accepted, else it says so."""
        with self.bench.chain.undone():
            self._right("release", self.release(self.message, self.sign_release(self.keys[:2])))
            self._right("refund", self.refund(self.sign_refund(self.keys[1:])))
            self._try(self._of_fields())
            self._try(self._of_signatures())
            self._try(self._of_digests())
            self._after_new_signers()
            self._after_the_end()
        return self.accepted

    # ------------------------------------------------------------------------ what is right

    def inbound(self, nonce: int, amount: int, *, late: int = 24 * HOUR) -> Message:
        actors = self.bench.actors
        ends = (PEER_CHAIN, self.chain_id, PEER_VAULT, self.vault.address, nonce)
        rest = (actors[FIRST_USER], actors[FIRST_USER + 1], amount, amount // 400)
        return dict(zip(FIELDS, (*ends, *rest, self.bench.now() + late), strict=True))

    def release(self, message: Message, signatures: Sequence[bytes]) -> bytes:
        return release_data(message, signatures)

    def refund(self, signatures: Sequence[bytes], id_: bytes | None = None) -> bytes:
        return self.vault.data("refund", id_ or self.deposit_id, signatures)

    def sign_release(self, keys: Sequence[Key]) -> list[bytes]:
        wanted = self.vault.call("releaseDigest", tuple(self.message.values()))
        return [key.sign(wanted) for key in keys]

    def sign_refund(self, keys: Sequence[Key]) -> list[bytes]:
        wanted = self.vault.call("refundDigest", self.deposit_id)
        return [key.sign(wanted) for key in keys]

    def _fund(self) -> None:
        values = (self.bench.actors[FIRST_USER + 1], PEER_CHAIN, bytes(32))
        steps = [
            Step(PROVIDER, self.vault.data("addLiquidity"), 500 * ETHER),
            Step(FIRST_USER, self.vault.data("deposit", *values), 3 * ETHER),
        ]
        funded = self.bench.run(steps, at=self.bench.now() + 1)
        assert all(outcome.ok for outcome in funded)
        (event,) = self.bench.events(funded[1])
        self.deposit_id: bytes = event.args["id"]
        self.deposited: Message = event.args["message"]

    # --------------------------------------------------------------------------- forgeries

    def _of_fields(self) -> Iterator[Try]:
        signatures = self.sign_release(self.keys)
        other = self.bench.actors[FIRST_USER + 2]
        for name in FIELDS:
            value = self.message[name]
            if isinstance(value, bytes):
                changed: list[Any] = [other, bytes(20), self.vault.address, PEER_VAULT]
            else:
                changed = [value + 1, value - 1, 0, value * 2, MAX, self.chain_id, PEER_CHAIN]
            for new in changed:
                if new != value:
                    forged = self.message | {name: new}
                    yield f"{name} {new!r}", self.release(forged, signatures)
        refunding = self.sign_refund(self.keys)
        for id_ in (self.id, bytes(32), keccak(self.deposit_id)):
            yield f"refund of {id_.hex()}", self.refund(refunding, id_)

    def _of_signatures(self) -> Iterator[Try]:
        a, b, _ = self.keys
        stranger = attestors()[4]
        ways: dict[str, Sequence[Key]] = {
            "none": [],
            "one of two": [a],
            "one twice": [a, a],
            "one three times": [b, b, b],
            "two and one again": [a, b, b],
            "unsorted": [b, a],
            "a stranger": [a, stranger],
            "enough and a stranger": [a, b, stranger],
            "strangers": list(attestors()[3:6]),
        }
        kinds: dict[str, tuple[Callable[[Sequence[Key]], list[bytes]], Callable[..., bytes]]] = {
            "release": (self.sign_release, lambda raw: self.release(self.message, raw)),
            "refund": (self.sign_refund, self.refund),
        }
        for kind, (sign, data) in kinds.items():
            for way, keys in ways.items():
                yield f"{kind} by {way}", data(sign(keys))
            for way, spoil in SPOILED.items():
                raw = sign([a, b])
                yield f"{kind}, first {way}", data([spoil(raw[0]), raw[1]])
                yield f"{kind}, second {way}", data([raw[0], spoil(raw[1])])
                yield f"{kind}, twice {way}", data([spoil(raw[0]), spoil(raw[0])])
                yield f"{kind}, a third {way}", data([*raw, spoil(sign(self.keys)[2])])
            for byte in range(65):
                raw = sign([a, b])
                bad = bytearray(raw[1])
                bad[byte] ^= 1 << (byte % 8)
                yield f"{kind}, byte {byte} changed", data([raw[0], bytes(bad)])

    def _of_digests(self) -> Iterator[Try]:
        _, _, _, signer_set = self.vault.call("signers")
        place, mine = self.vault.address, self.chain_id
        wrong: list[tuple[str, tuple[Any, ...]]] = [
            ("another chain", ("release", PEER_CHAIN, place, self.id, signer_set)),
            ("another vault", ("release", mine, PEER_VAULT, self.id, signer_set)),
            ("the other end", ("release", PEER_CHAIN, PEER_VAULT, self.id, signer_set)),
            ("a refund", ("refund", mine, place, self.id, signer_set)),
            ("a refund of the source", ("refund", PEER_CHAIN, PEER_VAULT, self.id, signer_set)),
            ("another set", ("release", mine, place, self.id, keccak(signer_set))),
            ("no set", ("release", mine, place, self.id, bytes(32))),
            ("another id", ("release", mine, place, keccak(self.id), signer_set)),
        ]
        for name, over in wrong:
            raw = [key.sign(digest(over, self.message)) for key in self.keys]
            yield f"release, signed for {name}", self.release(self.message, raw)
        for kind, chain, vault, id_, set_ in [
            ("release", mine, place, self.deposit_id, signer_set),
            ("release", PEER_CHAIN, PEER_VAULT, self.deposit_id, signer_set),
            ("refund", PEER_CHAIN, PEER_VAULT, self.deposit_id, signer_set),
            ("refund", mine, place, self.id, signer_set),
            ("refund", mine, place, self.deposit_id, keccak(signer_set)),
        ]:
            wanted = digest((kind, chain, vault, id_, set_), self.deposited)
            raw = [key.sign(wanted) for key in self.keys]
            yield f"refund, signed for {kind} {chain} {id_.hex()[:8]}", self.refund(raw)
        wanted = self.vault.call("releaseDigest", tuple(self.message.values()))
        prefixed = keccak(b"\x19Ethereum Signed Message:\n32" + wanted)
        for name, other in [("the bare id", self.id), ("a prefixed digest", prefixed)]:
            raw = [key.sign(other) for key in self.keys]
            yield f"release, signed for {name}", self.release(self.message, raw)

    def _after_new_signers(self) -> None:
        a, b, c = self.keys
        old = self.sign_release([a, b, c]), self.sign_refund([a, b, c])
        same = tuple(key.address for key in self.keys)
        stay = tuple(key.address for key in (a, b, *attestors()[3:4]))
        with self.bench.chain.undone():
            self._set_signers(same)
            self._try(self._of_old(old, "the same signers, a later set"))
        with self.bench.chain.undone():
            self._set_signers(stay)
            self._try(self._of_old(old, "a set without one"))
            now = self.sign_release([b, c]), self.sign_refund([b, c])
            self._try(self._of_old(now, "one that was removed"))
            self._right("release", self.release(self.message, self.sign_release([a, b])))

    def _of_old(self, signed: tuple[list[bytes], list[bytes]], name: str) -> Iterator[Try]:
        yield f"release, {name}", self.release(self.message, signed[0])
        yield f"refund, {name}", self.refund(signed[1])

    def _set_signers(self, signers: tuple[bytes, ...]) -> None:
        data = self.vault.data("setSigners", signers, 2)
        later = self.bench.now() + self.bench.start.delay + 1
        for function, at in [("schedule", self.bench.now() + 1), ("execute", later)]:
            (done,) = self.bench.run([Step(OWNER, self.vault.data(function, data))], at=at)
            assert done.ok, done.error

    def _after_the_end(self) -> None:
        again = self.release(self.message, self.sign_release(self.keys))
        back = self.refund(self.sign_refund(self.keys))
        late = self.message["deadline"] + 1
        for name, at, first, second in [
            ("released before", self.bench.now() + 1, again, again),
            ("refunded before", self.bench.now() + 1, back, back),
            ("past its deadline", late, b"", again),
            ("cancelled before", late + HOUR, self._cancel(), again),
        ]:
            with self.bench.chain.undone():
                steps = [Step(FIRST_USER, first)] if first else []
                outcomes = self.bench.run(steps, at=at)
                assert all(one.ok for one in outcomes), outcomes[0].error
                self._try([(name, second)])
        with self.bench.chain.undone():
            # The window is used up by another, so this one waits, for however long.
            filling = self.inbound(2, LIMIT)
            wanted = self.vault.call("releaseDigest", tuple(filling.values()))
            first = self.release(filling, [key.sign(wanted) for key in self.keys])
            steps = [Step(FIRST_USER, one) for one in (first, again)]
            outcomes = self.bench.run(steps, at=self.bench.now() + 1)
            assert all(one.ok for one in outcomes), [one.error for one in outcomes]
            assert [one.name for one in self.bench.events(outcomes[1])] == ["Queued"]
            self.bench.run([], at=late + HOUR)
            self._try([("cancelled once it was queued", self._cancel())])

    def _cancel(self) -> bytes:
        return self.vault.data("cancel", tuple(self.message.values()))

    # ------------------------------------------------------------------------------ trying

    def _accepts(self, data: bytes) -> bool:
        try:
            self.bench.chain.call(self.vault.address, data, sender=self.bench.sender)
        except Reverted:
            return False
        return True

    def _right(self, name: str, data: bytes) -> None:
        if not self._accepts(data):
            self.barred.append(name)

    def _try(self, attempts: Iterator[Try] | Sequence[Try]) -> None:
        for name, data in attempts:
            self.tried += 1
            if self._accepts(data):
                self.accepted.append(name)
