// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {IBridgeVault} from "../IBridgeVault.sol";
import {VaultBase} from "./VaultBase.sol";

/// @title Timelocked
/// @notice The owner, who changes in two steps, and what it may do after a delay only: calls of
/// this contract by itself. What is announced can be executed once, between the end of the delay
/// and its lapse; announcing it again before that is refused.
abstract contract Timelocked is VaultBase {
    uint256 internal constant DELAY_MIN = 1 minutes;
    uint256 internal constant DELAY_MAX = 30 days;
    /// @notice How long an announced call stays executable.
    uint256 public constant LAPSE = 14 days;

    /// @notice Seconds between announcing and executing.
    uint256 public immutable delay;

    /// @inheritdoc IBridgeVault
    address public owner;
    /// @inheritdoc IBridgeVault
    address public pendingOwner;
    /// @inheritdoc IBridgeVault
    mapping(bytes32 action => uint256) public executableAt;

    modifier onlyOwner() {
        if (msg.sender != owner) revert Unauthorized(msg.sender);
        _;
    }

    modifier onlySelf() {
        if (msg.sender != address(this)) revert Unauthorized(msg.sender);
        _;
    }

    constructor(address owner_, uint256 delay_) {
        if (owner_ == address(0)) revert Unauthorized(owner_);
        if (delay_ < DELAY_MIN || delay_ > DELAY_MAX) revert InvalidParameter();
        delay = delay_;
        owner = owner_;
        emit OwnerChanged(address(0), owner_, _nextEventSeq());
    }

    /// @inheritdoc IBridgeVault
    function schedule(bytes calldata data) external onlyOwner returns (bytes32 action) {
        _checkScheduled(data);
        action = keccak256(data);
        uint256 before = executableAt[action];
        if (before != 0 && block.timestamp <= before + LAPSE) revert InvalidParameter();
        uint256 allowedAt = block.timestamp + delay;
        executableAt[action] = allowedAt;
        emit Scheduled(action, _nextEventSeq(), allowedAt, data);
    }

    /// @inheritdoc IBridgeVault
    function unschedule(bytes32 action) external onlyOwner {
        if (executableAt[action] == 0) revert NotScheduled(action);
        executableAt[action] = 0;
        emit Unscheduled(action, _nextEventSeq());
    }

    /// @inheritdoc IBridgeVault
    function execute(bytes calldata data) external onlyOwner {
        bytes32 action = keccak256(data);
        uint256 allowedAt = executableAt[action];
        if (allowedAt == 0) revert NotScheduled(action);
        if (block.timestamp < allowedAt) revert TooEarly(allowedAt, block.timestamp);
        uint256 lapsedAt = allowedAt + LAPSE;
        if (block.timestamp > lapsedAt) revert Expired(lapsedAt, block.timestamp);
        executableAt[action] = 0;
        Address.functionCall(address(this), data);
    }

    /// @inheritdoc IBridgeVault
    /// @dev `address(0)` takes the proposal back.
    function proposeOwner(address proposed) external onlyOwner {
        pendingOwner = proposed;
        emit OwnerProposed(proposed, _nextEventSeq());
    }

    /// @inheritdoc IBridgeVault
    function acceptOwner() external {
        if (msg.sender != pendingOwner) revert Unauthorized(msg.sender);
        emit OwnerChanged(owner, msg.sender, _nextEventSeq());
        owner = msg.sender;
        pendingOwner = address(0);
    }

    /// @dev Reverts unless this call may be announced now.
    function _checkScheduled(bytes calldata data) internal view virtual;
}
