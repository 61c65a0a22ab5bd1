"""A key that signs transactions and digests. It is never shown: not by `repr`, not in an error."""

import coincurve
from eth_account import Account
from eth_account.signers.local import LocalAccount

from chain.transactions import transaction_hash


class TransactionAccount:
    """The account of a private key on one chain. The same fields give the same bytes."""

    def __init__(self, private_key: str | bytes, *, chain_id: int) -> None:
        self._account: LocalAccount = Account.from_key(private_key)
        self._chain_id = chain_id

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return bytes.fromhex(self._account.address[2:])

    def sign(
        self,
        *,
        to: bytes,
        data: bytes,
        gas: int,
        nonce: int,
        fees: tuple[int, int],
        value: int = 0,
    ) -> tuple[bytes, bytes]:
        """(raw transaction, its hash); `fees` are (max fee, priority fee) in wei a gas."""
        fields = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "to": to,
            "value": value,
            "data": data,
            "gas": gas,
            "maxFeePerGas": fees[0],
            "maxPriorityFeePerGas": fees[1],
        }
        raw = bytes(self._account.sign_transaction(fields).raw_transaction)
        return raw, transaction_hash(raw)


class DigestKey:
    """A key that signs 32-byte digests as contracts check them: 65 bytes, low s, v 27 or 28."""

    def __init__(self, private_key: bytes) -> None:
        self._key = coincurve.PrivateKey(private_key)
        self.address = bytes.fromhex(Account.from_key(private_key).address[2:])

    def sign(self, digest: bytes) -> bytes:
        """The same digest gives the same signature (RFC 6979)."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])
