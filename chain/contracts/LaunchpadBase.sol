// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ILaunchpad} from "./ILaunchpad.sol";
import {LaunchToken} from "./LaunchToken.sol";

/// @title LaunchpadBase
/// @notice What every part of the launchpad shares: its storage, its events of a trade, the way
/// ETH leaves.
abstract contract LaunchpadBase is ILaunchpad, ReentrancyGuardTransient {
    uint8 internal constant VENUE_CURVE = 0;
    uint8 internal constant VENUE_POOL = 1;

    /// @dev Three slots and the fees. `completedAt` is the timestamp at which the curve was sold
    /// out, 0 before. `sold` and `raised` are the curve's and rest once it is graduated.
    struct Record {
        uint128 sold;
        uint128 raised;
        address creator;
        Phase phase;
        uint56 seq;
        uint32 curveId;
        address pair;
        uint48 launchBlock;
        uint48 completedAt;
        FeeConfig fees;
    }

    /// @dev What a caller asked for, as `Trade` reports it.
    struct Order {
        address token;
        address recipient;
        bool isBuy;
        bool exactOut;
        bytes32 tag;
        uint256 requested;
    }

    address public immutable factory;
    address public immutable weth;
    address public immutable tokenImplementation;
    /// @notice Where following this launchpad's events begins.
    uint256 public immutable firstBlock;

    address public owner;
    address public pendingOwner;
    /// @notice Counts events from 1 without a gap.
    uint64 public eventSeq;
    uint128 public protocolFees;
    bool public launchesPaused;
    FeeConfig internal _fees;
    uint256 public curveCount;
    mapping(uint256 curveId => CurveConfig) internal _curves;
    mapping(address token => Record) internal _records;
    mapping(address creator => uint256) public creatorFees;

    modifier onlyOwner() {
        if (msg.sender != owner) revert Unauthorized(msg.sender);
        _;
    }

    constructor(address factory_, address weth_) {
        factory = factory_;
        weth = weth_;
        tokenImplementation = address(new LaunchToken());
        firstBlock = block.number;
    }

    function _known(address token) internal view returns (Record storage record) {
        record = _records[token];
        if (record.phase == Phase.None) revert UnknownToken(token);
    }

    function _emitTrade(uint256 seq, uint8 venue, Order memory order, TradeQuote memory given)
        internal
    {
        emit Trade({
            token: order.token,
            trader: msg.sender,
            recipient: order.recipient,
            eventSeq: _nextEventSeq(),
            seq: seq,
            isBuy: order.isBuy,
            exactOut: order.exactOut,
            venue: venue,
            tag: order.tag,
            requested: order.requested,
            tokens: given.tokens,
            curveEth: given.curveEth,
            protocolFee: given.protocolFee,
            creatorFee: given.creatorFee,
            launchFee: given.launchFee,
            refund: given.refund,
            sold: given.sold,
            raised: given.raised,
            clipped: given.clipped
        });
    }

    function _nextEventSeq() internal returns (uint256) {
        return ++eventSeq;
    }

    function _send(address to, uint256 amount) internal {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(to, amount);
    }
}
