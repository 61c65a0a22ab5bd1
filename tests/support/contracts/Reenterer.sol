// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice For tests: while it is paid it calls back, and keeps whether that went through.
contract Reenterer {
    address private immutable target;
    bytes private callback;
    bool private refuses;

    uint256 public attempts;
    bool public succeeded;
    bytes public answer;

    constructor(address target_) {
        target = target_;
    }

    function arm(bytes calldata callback_) external {
        callback = callback_;
    }

    function refuse() external {
        refuses = true;
    }

    function execute(bytes calldata data) external payable {
        (bool ok, bytes memory result) = target.call{value: msg.value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 32), mload(result))
            }
        }
    }

    receive() external payable {
        require(!refuses, "no ether");
        if (callback.length == 0) return;
        ++attempts;
        (succeeded, answer) = target.call(callback);
    }
}
