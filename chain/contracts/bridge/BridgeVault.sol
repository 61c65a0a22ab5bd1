// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IBridgeVault} from "../IBridgeVault.sol";
import {Attestation} from "../libraries/Attestation.sol";
import {Window} from "../libraries/Window.sol";
import {VaultRoles} from "./VaultRoles.sol";

/// @title BridgeVault
/// @notice Messages: locked at their source, given one fate at their target. Both mappings are
/// written before any ETH leaves, and neither is ever written back.
contract BridgeVault is VaultRoles, EIP712 {
    using Attestation for Attestation.Signers;
    using Window for Window.Spent;

    /// @notice Seconds between a deadline and when anybody may cancel: no clock is so far off that
    /// a release and a cancel both seem in time.
    uint256 public constant CANCEL_DELAY = 1 hours;

    /// @dev One slot. An amount is at most the limit, which fits.
    struct Deposit {
        address depositor;
        uint88 amount;
        bool refunded;
    }

    struct Peer {
        address vault;
        uint64 chainId;
    }

    Peer private _peer;
    mapping(bytes32 id => Deposit) private _deposits;
    mapping(bytes32 id => Fate) private _fates;

    constructor(Config memory config) VaultRoles(config) EIP712("RiseCurve Bridge", "1") {}

    /// @inheritdoc IBridgeVault
    function setPeer(uint256 chainId, address vault) external onlyOwner {
        if (_peer.vault != address(0)) revert PeerIsSet();
        if (
            vault == address(0) || chainId == 0 || chainId == block.chainid
                || chainId > type(uint64).max
        ) revert InvalidParameter();
        _peer = Peer(vault, uint64(chainId));
        emit PeerSet(_nextEventSeq(), chainId, vault);
    }

    // ---------------------------------------------------------------- source

    /// @inheritdoc IBridgeVault
    function deposit(address recipient, uint256 targetChain, bytes32 ref)
        external
        payable
        nonReentrant
        whenRunning
        returns (bytes32 id)
    {
        Peer memory to = _knownPeer();
        if (targetChain != to.chainId) revert WrongChain(targetChain);
        _checkRecipient(recipient, to);
        uint256 least = minimum;
        if (msg.value < least) revert BelowMinimum(msg.value, least);
        if (msg.value > _head.limit) revert AboveLimit(msg.value, _head.limit);
        Message memory message = Message({
            sourceChain: block.chainid,
            targetChain: targetChain,
            sourceVault: address(this),
            targetVault: to.vault,
            nonce: ++_head.deposits,
            depositor: msg.sender,
            recipient: recipient,
            amount: msg.value,
            fee: msg.value * _head.feeBps / BPS,
            deadline: block.timestamp + transferTtl
        });
        id = keccak256(abi.encode(message));
        _deposits[id] = Deposit(msg.sender, uint88(msg.value), false);
        _books.deposited += uint128(msg.value);
        emit Deposited(id, ref, msg.sender, _nextEventSeq(), message);
    }

    /// @inheritdoc IBridgeVault
    function refund(bytes32 id, bytes[] calldata signatures) external nonReentrant whenRunning {
        Deposit memory found = _known(id);
        if (found.refunded) revert AlreadyRefunded(id);
        _signers.check(_refundDigest(id, found), signatures);
        uint256 amount = found.amount;
        _checkPool(amount);
        _spend(amount);
        _deposits[id].refunded = true;
        _books.refunded += uint128(amount);
        bool paid = _pay(found.depositor, amount);
        emit Refunded(id, found.depositor, _nextEventSeq(), amount, paid);
    }

    // ---------------------------------------------------------------- target

    /// @inheritdoc IBridgeVault
    function release(Message calldata message, bytes[] calldata signatures)
        external
        nonReentrant
        whenRunning
        returns (Fate)
    {
        bytes32 id = _inbound(message);
        _checkRecipient(message.recipient, _peer);
        uint256 amount = message.amount;
        if (amount == 0 || amount > type(uint88).max) revert InvalidAmount(amount);
        if (message.fee > amount * FEE_BPS_MAX / BPS) revert InvalidAmount(message.fee);
        Fate fate = _fates[id];
        if (fate == Fate.None) {
            if (block.timestamp > message.deadline) {
                revert Expired(message.deadline, block.timestamp);
            }
        } else if (fate != Fate.Queued) {
            revert WrongFate(id, fate);
        }
        _signers.check(_releaseDigest(id, message), signatures);
        uint256 limit = _head.limit;
        if (amount > limit) revert AboveLimit(amount, limit);
        _checkPool(amount);
        (bool taken, uint256 left) = _spent.take(amount, limit, block.timestamp);
        if (!taken) {
            if (fate == Fate.Queued) revert WindowFull(amount, left);
            _fates[id] = Fate.Queued;
            emit Queued(id, message.recipient, _nextEventSeq(), amount);
            return Fate.Queued;
        }
        _fates[id] = Fate.Released;
        _payOut(id, message);
        return Fate.Released;
    }

    /// @inheritdoc IBridgeVault
    function cancel(Message calldata message) external nonReentrant {
        bytes32 id = _inbound(message);
        Fate fate = _fates[id];
        if (fate != Fate.None) revert WrongFate(id, fate);
        uint256 allowedAt = Math.saturatingAdd(message.deadline, CANCEL_DELAY);
        if (block.timestamp < allowedAt) revert TooEarly(allowedAt, block.timestamp);
        _cancel(id, message);
    }

    /// @inheritdoc IBridgeVault
    function cancelQueued(Message calldata message) external nonReentrant {
        if (!isGuardian[msg.sender]) revert Unauthorized(msg.sender);
        bytes32 id = _inbound(message);
        Fate fate = _fates[id];
        if (fate != Fate.Queued) revert WrongFate(id, fate);
        _cancel(id, message);
    }

    // ----------------------------------------------------------------- views

    /// @inheritdoc IBridgeVault
    function messageId(Message calldata message) external pure returns (bytes32) {
        return _id(message);
    }

    /// @inheritdoc IBridgeVault
    function releaseDigest(Message calldata message) external view returns (bytes32) {
        return _releaseDigest(_id(message), message);
    }

    /// @inheritdoc IBridgeVault
    function refundDigest(bytes32 id) external view returns (bytes32) {
        return _refundDigest(id, _known(id));
    }

    /// @inheritdoc IBridgeVault
    function fateOf(bytes32 id) external view returns (Fate) {
        return _fates[id];
    }

    /// @inheritdoc IBridgeVault
    function depositOf(bytes32 id)
        external
        view
        returns (address depositor, uint256 amount, bool refunded)
    {
        Deposit memory found = _deposits[id];
        return (found.depositor, found.amount, found.refunded);
    }

    /// @inheritdoc IBridgeVault
    function peer() external view returns (uint256 chainId, address vault) {
        return (_peer.chainId, _peer.vault);
    }

    // -------------------------------------------------------------- messages

    function _knownPeer() private view returns (Peer memory found) {
        found = _peer;
        if (found.vault == address(0)) revert NoPeer();
    }

    function _known(bytes32 id) private view returns (Deposit memory found) {
        found = _deposits[id];
        if (found.depositor == address(0)) revert UnknownDeposit(id);
    }

    function _checkRecipient(address recipient, Peer memory other) private view {
        if (recipient == address(0) || recipient == address(this) || recipient == other.vault) {
            revert InvalidRecipient(recipient);
        }
    }

    function _id(Message calldata message) private pure returns (bytes32) {
        return keccak256(abi.encode(message));
    }

    /// @dev The id of a message from the peer to this vault; reverts for any other.
    function _inbound(Message calldata message) private view returns (bytes32 id) {
        Peer memory from = _knownPeer();
        if (message.targetChain != block.chainid) revert WrongChain(message.targetChain);
        id = _id(message);
        if (
            message.sourceChain != from.chainId || message.sourceVault != from.vault
                || message.targetVault != address(this)
        ) revert WrongMessage(id);
    }

    function _releaseDigest(bytes32 id, Message calldata message) private view returns (bytes32) {
        return _hashTypedDataV4(Attestation.releaseHash(id, message, _signers.set));
    }

    function _refundDigest(bytes32 id, Deposit memory found) private view returns (bytes32) {
        return _hashTypedDataV4(
            Attestation.refundHash(
                id, _peer.chainId, _peer.vault, found.depositor, found.amount, _signers.set
            )
        );
    }

    function _payOut(bytes32 id, Message calldata message) private {
        _books.released += uint128(message.amount);
        _books.fees += uint128(message.fee);
        bool paid = _pay(message.recipient, message.amount - message.fee);
        emit Released(
            id, message.recipient, _nextEventSeq(), message.amount, message.fee, paid
        );
    }

    function _cancel(bytes32 id, Message calldata message) private {
        _fates[id] = Fate.Cancelled;
        emit Cancelled(id, msg.sender, _nextEventSeq(), message);
    }
}
