"""Where an event stands on its chain. Apart from the events, of which there are two kinds: the
launchpad's (`engine.messages`) and the bridge's (`engine.bridge.events`).
"""

from curves.values import value


@value
class EventHeader:
    """Where an event stands.

    Identity is (`chain_id`, `tx_hash`, `position`), position counting the logs of its own
    transaction; order is (`block_number`, `tx_index`, `log_index`). `block_hash` is None
    while preconfirmed. `emitter` is the contract, `version` its registered version (a
    token's own logs carry its launchpad's).
    """

    chain_id: int
    block_number: int
    block_hash: bytes | None
    block_time: int
    tx_hash: bytes
    tx_index: int
    log_index: int
    position: int
    emitter: bytes
    version: int

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts events of one chain."""
        return self.block_number, self.tx_index, self.log_index

    @property
    def identity(self) -> tuple[int, bytes, int]:
        """Equal for one event however often and by whatever way it is delivered."""
        return self.chain_id, self.tx_hash, self.position
