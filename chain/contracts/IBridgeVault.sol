// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title IBridgeVault
/// @notice One end of the bridge. ETH is locked here by `deposit` and paid out at the other end by
/// `release`, which takes signatures of the attestors; what is not released in time is cancelled
/// there and refunded here. All amounts are wei, all times unix seconds of the chain they are
/// compared on. Every event carries `eventSeq`, which counts this vault's events from 1 without a
/// gap. Nothing moves ETH or changes a parameter without an event.
///
/// The fate of a message on its target: None → Released, None → Queued → Released,
/// None → Cancelled (anyone, an hour after the deadline), Queued → Cancelled (guardian). On its
/// source: Deposited → Refunded. Nobody attests an absence: a refund takes signatures over the
/// final event `Cancelled`.
interface IBridgeVault {
    // ---------------------------------------------------------------- errors

    error Unauthorized(address caller);
    error Paused();
    error NoPeer();
    error PeerIsSet();
    error WrongChain(uint256 chainId);
    error InvalidRecipient(address recipient);
    error InvalidAmount(uint256 amount);
    error AboveLimit(uint256 amount, uint256 limit);
    error BelowMinimum(uint256 amount, uint256 minimum);
    error WrongMessage(bytes32 id);
    error WrongFate(bytes32 id, Fate fate);
    error UnknownDeposit(bytes32 id);
    error AlreadyRefunded(bytes32 id);
    error Expired(uint256 deadline, uint256 timestamp);
    error TooEarly(uint256 allowedAt, uint256 timestamp);
    error NotEnoughSignatures(uint256 given, uint256 threshold);
    error InvalidSignature(uint256 index);
    error UnknownSigner(address signer);
    error SignersNotSorted(address signer);
    error InvalidSigners();
    error InvalidParameter();
    error WindowFull(uint256 amount, uint256 left);
    error NotEnoughLiquidity(uint256 amount, uint256 available);
    error NotScheduled(bytes32 action);
    error NothingToClaim(address account);
    error TransferFailed(address to, uint256 amount);

    // ----------------------------------------------------------------- types

    enum Fate {
        None,
        Queued,
        Released,
        Cancelled
    }

    /// @dev One transfer; its id is `keccak256(abi.encode(message))`. `nonce` counts the source
    /// vault's deposits from 1. `amount` is what was deposited; the recipient gets
    /// `amount - fee`, the fee stays at the target. `deadline` is the target's time up to which
    /// it may be released, set by the source vault.
    struct Message {
        uint256 sourceChain;
        uint256 targetChain;
        address sourceVault;
        address targetVault;
        uint256 nonce;
        address depositor;
        address recipient;
        uint256 amount;
        uint256 fee;
        uint256 deadline;
    }

    /// @dev Where ETH went that this vault knows of. `balance` of the vault is at least
    /// `liquidity + deposited - released - refunded + unclaimed + fees`, all counted by the vault.
    struct Totals {
        uint256 liquidity;
        uint256 deposited;
        uint256 released;
        uint256 refunded;
        uint256 unclaimed;
        uint256 fees;
        uint256 feesClaimed;
    }

    // ---------------------------------------------------------------- events

    event Deposited(
        bytes32 indexed id,
        bytes32 indexed ref,
        address indexed depositor,
        uint256 eventSeq,
        Message message
    );
    /// @dev `amount` and `fee` are the message's; the recipient's part is `amount - fee`. `paid` is
    /// false when the recipient refused it: then it waits for its `claim`.
    event Released(
        bytes32 indexed id,
        address indexed recipient,
        uint256 eventSeq,
        uint256 amount,
        uint256 fee,
        bool paid
    );
    event Queued(bytes32 indexed id, address indexed recipient, uint256 eventSeq, uint256 amount);
    event Cancelled(bytes32 indexed id, address indexed by, uint256 eventSeq, Message message);
    event Refunded(
        bytes32 indexed id, address indexed depositor, uint256 eventSeq, uint256 amount, bool paid
    );
    event Claimed(address indexed account, address indexed to, uint256 eventSeq, uint256 amount);
    event LiquidityAdded(address indexed by, uint256 eventSeq, uint256 amount);
    event LiquidityRemoved(
        address indexed by, address indexed to, uint256 eventSeq, uint256 amount
    );
    event FeesClaimed(address indexed to, uint256 eventSeq, uint256 amount);
    event PausedBy(address indexed by, uint256 eventSeq);
    event Unpaused(uint256 eventSeq);
    event PeerSet(uint256 eventSeq, uint256 chainId, address vault);
    /// @dev `signerSet` is `keccak256(abi.encode(epoch, threshold, signers))`.
    event SignersChanged(
        uint256 eventSeq, uint256 epoch, uint256 threshold, address[] signers, bytes32 signerSet
    );
    event LimitChanged(uint256 eventSeq, uint256 limit);
    event MinimumChanged(uint256 eventSeq, uint256 minimum);
    event FeeChanged(uint256 eventSeq, uint256 feeBps);
    event GuardianChanged(address indexed account, uint256 eventSeq, bool allowed);
    event LiquidityProviderChanged(address indexed account, uint256 eventSeq, bool allowed);
    /// @dev `action` is `keccak256(data)`.
    event Scheduled(bytes32 indexed action, uint256 eventSeq, uint256 executableAt, bytes data);
    event Unscheduled(bytes32 indexed action, uint256 eventSeq);
    event OwnerProposed(address indexed proposed, uint256 eventSeq);
    event OwnerChanged(address indexed previous, address indexed owner, uint256 eventSeq);

    // ------------------------------------------------------------- transfers

    /// @notice Lock `msg.value` for `recipient` at the peer. `ref` is the caller's own number for
    /// it (the API's request id), or zero. Refused above the limit of one window and below the
    /// minimum: who releases it pays gas, whatever it is worth.
    function deposit(address recipient, uint256 targetChain, bytes32 ref)
        external
        payable
        returns (bytes32 id);

    /// @notice Pay a message out, at its target, once. `signatures` are at least `threshold` of
    /// current signers over `releaseDigest`, 65 bytes each (r, s, v), low s, sorted by signer
    /// without duplicates. Over the window's limit the message is queued instead; a queued one is
    /// paid by the same call later, without deadline, under the signers of then. Its whole amount
    /// counts. What is above the limit or the liquidity is refused, and so refunded in the end.
    /// @dev Order of checks: paused, peer, chain, vaults, recipient, amount and fee, fate,
    /// deadline, signatures, limit, liquidity, window.
    /// @return fate Released or Queued.
    function release(Message calldata message, bytes[] calldata signatures)
        external
        returns (Fate fate);

    /// @notice End a message that was not released, at its target, an hour after its deadline.
    function cancel(Message calldata message) external;

    /// @notice End a queued message: guardian only.
    function cancelQueued(Message calldata message) external;

    /// @notice Give a cancelled message's amount back to its depositor, at its source, once.
    /// `signatures` as in `release`, over `refundDigest`. Counts against this vault's window.
    /// Over the window it reverts and is sent again later.
    function refund(bytes32 id, bytes[] calldata signatures) external;

    /// @notice ETH that could not be paid because the account refused it, sent anywhere.
    function claim(address payable to) external;

    // ----------------------------------------------------------------- roles

    /// @notice Liquidity provider only; while paused too.
    function addLiquidity() external payable;

    /// @notice Liquidity provider only; counts against the window. At most what was added and not
    /// removed: what others deposited cannot be reached.
    function removeLiquidity(address payable to, uint256 amount) external;

    /// @notice Owner: fees of messages released here, which counted as a part of them.
    function claimFees(address payable to, uint256 amount) external;

    /// @notice At once: guardian or owner. While paused it does nothing. `deposit`, `release`,
    /// `refund`, `claim`, `removeLiquidity` and `claimFees` are refused then; cancelling is not.
    function pause() external;

    /// @notice Owner, once, at deployment.
    function setPeer(uint256 chainId, address vault) external;

    /// @notice Owner: announce a call of this vault by itself (`unpause`, `setSigners`,
    /// `setLimit`, `setMinimum`, `setFee`, `setGuardian`, `setLiquidityProvider`), which the owner
    /// may `execute` after the delay and before it has lapsed, once. `unpause` is announced while
    /// paused only.
    function schedule(bytes calldata data) external returns (bytes32 action);

    function unschedule(bytes32 action) external;

    function execute(bytes calldata data) external;

    /// @notice By `execute` only, as the six after it.
    function unpause() external;

    /// @notice `list` ascending. Signatures of the set before are worth nothing from here on.
    function setSigners(address[] calldata list, uint256 threshold) external;

    /// @notice A deposit above a lowered limit cannot be refunded until it is raised again. Not
    /// below the minimum.
    function setLimit(uint256 limit) external;

    /// @notice The least of deposits from now on: not zero, at most the limit. What was deposited
    /// before is released and refunded as ever.
    function setMinimum(uint256 least) external;

    function setFee(uint256 bps) external;

    function setGuardian(address account, bool allowed) external;

    function setLiquidityProvider(address account, bool allowed) external;

    function proposeOwner(address proposed) external;

    function acceptOwner() external;

    // ----------------------------------------------------------------- views

    function messageId(Message calldata message) external pure returns (bytes32);

    /// @notice EIP-712 in the domain (name "RiseCurve Bridge", version "1", this chain, this
    /// vault), of use at the target only; type `Release(bytes32 id,uint256 sourceChain,
    /// uint256 targetChain,address sourceVault,address targetVault,uint256 nonce,
    /// address depositor,address recipient,uint256 amount,uint256 fee,uint256 deadline,
    /// bytes32 signerSet)` without a blank after a comma.
    function releaseDigest(Message calldata message) external view returns (bytes32);

    /// @notice EIP-712 in the source vault's domain, type `Refund(bytes32 id,uint256 sourceChain,
    /// uint256 targetChain,address sourceVault,address targetVault,address depositor,
    /// uint256 amount,bytes32 signerSet)`, as above. Reverts for an unknown id.
    function refundDigest(bytes32 id) external view returns (bytes32);

    function fateOf(bytes32 id) external view returns (Fate);

    /// @notice What was deposited here: zero address for an unknown id.
    function depositOf(bytes32 id)
        external
        view
        returns (address depositor, uint256 amount, bool refunded);

    function signers()
        external
        view
        returns (address[] memory list, uint256 threshold, uint256 epoch, bytes32 signerSet);

    /// @notice How much may still leave within the present window, and its limit.
    function window() external view returns (uint256 left, uint256 limit);

    /// @notice The least that `deposit` takes.
    function minimum() external view returns (uint256);

    function totals() external view returns (Totals memory);

    function unclaimedOf(address account) external view returns (uint256);

    function peer() external view returns (uint256 chainId, address vault);

    function paused() external view returns (bool);

    function eventSeq() external view returns (uint64);

    /// @notice Of deposits from now on, basis points of the amount.
    function feeBps() external view returns (uint256);

    function isGuardian(address account) external view returns (bool);

    function isLiquidityProvider(address account) external view returns (bool);

    function owner() external view returns (address);

    function pendingOwner() external view returns (address);

    /// @notice When a scheduled action may be executed: 0 where it is not scheduled.
    function executableAt(bytes32 action) external view returns (uint256);
}
