// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice For tests: an aggregator that says what it is told.
contract UsdFeed {
    uint8 public decimals;
    int256 private answer;
    uint256 private updatedAt;

    /// @notice What to say from now on.
    function set(uint8 decimals_, int256 answer_, uint256 updatedAt_) external {
        (decimals, answer, updatedAt) = (decimals_, answer_, updatedAt_);
    }

    /// @notice As Chainlink's aggregators have it.
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (7, answer, updatedAt, updatedAt, 7);
    }
}
