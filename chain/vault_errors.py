"""What a vault's reverts mean: name of the Solidity error, our code, a sentence."""

ERRORS: tuple[tuple[str, str, str], ...] = (
    ("Paused()", "invalid_request", "The vault is paused"),
    ("NoPeer()", "invalid_request", "The vault knows no other end yet"),
    ("PeerIsSet()", "invalid_request", "The other end is set for ever"),
    ("WrongChain(uint256)", "wrong_chain", "The message is of other chains"),
    ("InvalidAmount(uint256)", "invalid_amount", "Not a valid amount"),
    ("AboveLimit(uint256,uint256)", "amount_too_large", "More than the vault lets out in a day"),
    ("WrongMessage(bytes32)", "invalid_request", "Not a message of these vaults"),
    ("WrongFate(bytes32,uint8)", "invalid_request", "The message has another fate"),
    ("UnknownDeposit(bytes32)", "not_found", "No such deposit"),
    ("AlreadyRefunded(bytes32)", "invalid_request", "The deposit was refunded"),
    ("NotEnoughSignatures(uint256,uint256)", "invalid_request", "Too few signatures"),
    ("InvalidSignature(uint256)", "invalid_request", "Not a valid signature"),
    ("UnknownSigner(address)", "invalid_request", "Signed by nobody who may"),
    ("SignersNotSorted(address)", "invalid_request", "Signatures in the wrong order"),
    ("InvalidSigners()", "invalid_request", "Not a valid set of signers"),
    ("InvalidParameter()", "invalid_request", "Not a valid parameter"),
    ("WindowFull(uint256,uint256)", "invalid_request", "Over what may leave within a day"),
    ("NotEnoughLiquidity(uint256,uint256)", "invalid_request", "The vault holds too little"),
    ("NotScheduled(bytes32)", "invalid_request", "The call was not announced"),
    ("NothingToClaim(address)", "invalid_request", "Nothing to claim"),
)
