// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Window
/// @notice How much leaves in any 24 hours: a running total over 25 hourly buckets. An interval of
/// 24 hours, both ends included, touches 25 clock hours at most, wherever it begins, so splitting
/// a sum round an edge does not help. Constant storage, and no refill as a token bucket has, which
/// lets nearly twice the limit through.
library Window {
    uint256 internal constant BUCKETS = 25;

    /// @dev `total` is the sum of `buckets`, which hold hours `hour - 24` to `hour`, each at its
    /// number modulo 25.
    struct Spent {
        uint64 hour;
        uint128 total;
        uint128[BUCKETS] buckets;
    }

    function left(Spent storage self, uint256 limit, uint256 timestamp)
        internal
        view
        returns (uint256)
    {
        uint256 hour = timestamp / 1 hours;
        uint256 total = self.total;
        uint256 last = self.hour;
        for (uint256 passed = _passed(last, hour); passed > 0 && total > 0; --passed) {
            total -= self.buckets[++last % BUCKETS];
        }
        return limit > total ? limit - total : 0;
    }

    /// @dev Counts `amount`, or changes nothing but the hour when it does not fit.
    function take(Spent storage self, uint256 amount, uint256 limit, uint256 timestamp)
        internal
        returns (bool taken, uint256 leftBefore)
    {
        uint256 hour = timestamp / 1 hours;
        uint256 total = self.total;
        uint256 last = self.hour;
        for (uint256 passed = _passed(last, hour); passed > 0 && total > 0; --passed) {
            uint256 index = ++last % BUCKETS;
            uint256 spent = self.buckets[index];
            if (spent == 0) continue;
            total -= spent;
            self.buckets[index] = 0;
        }
        leftBefore = limit > total ? limit - total : 0;
        taken = amount <= leftBefore;
        if (taken) {
            total += amount;
            self.buckets[hour % BUCKETS] += uint128(amount);
        }
        self.hour = uint64(hour);
        self.total = uint128(total);
    }

    /// @dev How many buckets are out of date.
    function _passed(uint256 last, uint256 hour) private pure returns (uint256) {
        return hour - last < BUCKETS ? hour - last : BUCKETS;
    }
}
