// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

interface IERC1271 {
    function isValidSignature(bytes32 digest, bytes calldata signature)
        external
        view
        returns (bytes4);
}

/// Never deployed: its constructor runs inside an `eth_call` and answers one word, 1 for a valid
/// signature. The account is asked as it is; where it refuses, or is not there, what its
/// signature says comes first is done (ERC-6492's factory, ERC-8010's initialisation) and it is
/// asked again. Nothing of it stays.
contract SignatureCheck {
    constructor(
        address account,
        bytes32 digest,
        bytes memory signature,
        address prepareTo,
        bytes memory prepareData
    ) {
        bool valid = _accepts(account, digest, signature);
        if (!valid && prepareTo != address(0)) {
            (bool prepared,) = prepareTo.call(prepareData);
            valid = prepared && _accepts(account, digest, signature);
        }
        assembly ("memory-safe") {
            mstore(0, valid)
            return(0, 32)
        }
    }

    function _accepts(address account, bytes32 digest, bytes memory signature)
        private
        view
        returns (bool)
    {
        if (account.code.length == 0) return false;
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        (bool answered, bytes memory answer) = account.staticcall(question);
        return answered && answer.length == 32
            && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }
}
