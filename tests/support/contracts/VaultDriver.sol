// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IBridgeVault} from "chain/contracts/IBridgeVault.sol";
import {Window} from "chain/contracts/libraries/Window.sol";

/// @notice For tests: an account that does what the driver says. It may refuse ETH, with or without
/// a heap of return data, or use up gas when it is paid.
contract VaultActor {
    address private immutable driver = msg.sender;
    uint256 private mood;

    uint256 private constant REFUSES = 1;
    uint256 private constant SHOUTS = 2;

    function execute(address to, uint256 value, bytes calldata data)
        external
        returns (bool, bytes memory)
    {
        require(msg.sender == driver);
        return to.call{value: value}(data);
    }

    function feel(uint256 mood_) external {
        require(msg.sender == address(this));
        mood = mood_;
    }

    receive() external payable {
        if (mood == REFUSES) revert();
        if (mood == SHOUTS) {
            assembly ("memory-safe") {
                revert(0, 40000)
            }
        }
        if (mood > SHOUTS) {
            uint256 before = gasleft();
            while (before - gasleft() < mood) {}
        }
    }
}

/// @notice For tests: many calls of a vault in one transaction, with what stands in it after each.
contract VaultDriver {
    /// @dev `id` is the message or deposit whose fate is told. Zero as `to` is the vault.
    struct Step {
        uint256 actor;
        address to;
        uint256 value;
        bytes32 id;
        bytes data;
    }

    struct State {
        IBridgeVault.Totals totals;
        uint256 left;
        uint256 limit;
        uint256 eventSeq;
        uint256 balance;
        bool paused;
        IBridgeVault.Fate fate;
        bool refunded;
        uint256 unclaimed;
    }

    event Stepped(bool ok, State state, bytes answer);

    VaultActor[] public actors;

    constructor(uint256 count) {
        for (uint256 i = 0; i < count; ++i) {
            actors.push(new VaultActor());
        }
    }

    function run(IBridgeVault vault, Step[] calldata steps) external {
        for (uint256 i = 0; i < steps.length; ++i) {
            Step calldata step = steps[i];
            VaultActor actor = actors[step.actor];
            address to = step.to == address(0) ? address(vault) : step.to;
            (bool ok, bytes memory answer) = actor.execute(to, step.value, step.data);
            emit Stepped(ok, _state(vault, step.id, address(actor)), answer);
        }
    }

    function _state(IBridgeVault vault, bytes32 id, address actor)
        private
        view
        returns (State memory state)
    {
        state.totals = vault.totals();
        (state.left, state.limit) = vault.window();
        state.eventSeq = vault.eventSeq();
        state.balance = address(vault).balance;
        state.paused = vault.paused();
        state.fate = vault.fateOf(id);
        (,, state.refunded) = vault.depositOf(id);
        state.unclaimed = vault.unclaimedOf(actor);
    }
}

/// @notice For tests: the window alone, at any times.
contract WindowHarness {
    using Window for Window.Spent;

    Window.Spent private spent;

    /// @dev What was left before each, and whether it was taken.
    function run(uint256 limit, uint256[] calldata times, uint256[] calldata amounts)
        external
        returns (uint256[] memory lefts, bool[] memory taken)
    {
        lefts = new uint256[](times.length);
        taken = new bool[](times.length);
        for (uint256 i = 0; i < times.length; ++i) {
            uint256 seen = spent.left(limit, times[i]);
            (taken[i], lefts[i]) = spent.take(amounts[i], limit, times[i]);
            require(seen == lefts[i], "left and take differ");
        }
    }
}

/// @notice For tests: a contract that may have every role of a vault, is paid by it, and calls it
/// back when it is.
contract Relay {
    address private target;
    bytes private callback;
    bool private refuses;

    /// @dev One slot, never zero: a receiver has no gas for more.
    struct Tried {
        uint64 attempts;
        bool succeeded;
        bytes4 answer;
        bool ready;
    }

    Tried public tried = Tried(0, false, 0, true);

    function aim(address target_) external {
        target = target_;
    }

    function arm(bytes calldata callback_) external {
        callback = callback_;
    }

    function refuse(bool refuses_) external {
        refuses = refuses_;
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
        (bool ok, bytes memory result) = target.call(callback);
        tried = Tried(tried.attempts + 1, ok, bytes4(result), true);
    }
}
