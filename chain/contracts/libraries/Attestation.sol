// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IBridgeVault} from "../IBridgeVault.sol";

/// @title Attestation
/// @notice Who may attest, what they sign, and whether enough of them did. Both types bind the set
/// of signers, so that no signature outlives the set it was made under.
library Attestation {
    uint256 internal constant SIGNERS_MAX = 32;

    bytes32 private constant RELEASE = keccak256(
        "Release(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
        "address targetVault,uint256 nonce,address depositor,address recipient,uint256 amount,"
        "uint256 fee,uint256 deadline,bytes32 signerSet)"
    );
    bytes32 private constant REFUND = keccak256(
        "Refund(bytes32 id,uint256 sourceChain,uint256 targetChain,address sourceVault,"
        "address targetVault,address depositor,uint256 amount,bytes32 signerSet)"
    );

    /// @dev `set` is `keccak256(abi.encode(epoch, threshold, list))`. `epochOf` of a signer is the
    /// last epoch in which it was one: current when it is `epoch`, which begins at 1.
    struct Signers {
        uint64 epoch;
        uint64 threshold;
        bytes32 set;
        address[] list;
        mapping(address signer => uint256) epochOf;
    }

    /// @dev The next set: ascending, none of them zero, 1 ≤ threshold ≤ their number ≤ 32.
    function change(Signers storage self, address[] memory list, uint256 threshold) internal {
        if (threshold == 0 || threshold > list.length || list.length > SIGNERS_MAX) {
            revert IBridgeVault.InvalidSigners();
        }
        uint64 epoch = ++self.epoch;
        address last = address(0);
        for (uint256 i = 0; i < list.length; ++i) {
            address signer = list[i];
            if (signer <= last) revert IBridgeVault.InvalidSigners();
            self.epochOf[signer] = epoch;
            last = signer;
        }
        self.threshold = uint64(threshold);
        self.list = list;
        self.set = keccak256(abi.encode(epoch, threshold, list));
    }

    /// @dev Every signature must be a current signer's, also those above the threshold.
    function check(Signers storage self, bytes32 digest, bytes[] calldata signatures)
        internal
        view
    {
        uint256 threshold = self.threshold;
        if (signatures.length < threshold) {
            revert IBridgeVault.NotEnoughSignatures(signatures.length, threshold);
        }
        uint256 epoch = self.epoch;
        address last = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            (address signer, ECDSA.RecoverError fault,) =
                ECDSA.tryRecoverCalldata(digest, signatures[i]);
            if (fault != ECDSA.RecoverError.NoError) revert IBridgeVault.InvalidSignature(i);
            if (self.epochOf[signer] != epoch) revert IBridgeVault.UnknownSigner(signer);
            if (signer <= last) revert IBridgeVault.SignersNotSorted(signer);
            last = signer;
        }
    }

    function releaseHash(bytes32 id, IBridgeVault.Message calldata message, bytes32 set)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(RELEASE, id, message, set));
    }

    /// @dev Of a message whose source is this chain and this contract.
    function refundHash(
        bytes32 id,
        uint256 targetChain,
        address targetVault,
        address depositor,
        uint256 amount,
        bytes32 set
    ) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                REFUND,
                id,
                block.chainid,
                targetChain,
                address(this),
                targetVault,
                depositor,
                amount,
                set
            )
        );
    }
}
