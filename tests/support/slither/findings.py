"""Slither's detectors over chain/contracts, or over the folder that is given: JSON on stdout.

A program of its own: it is run with the interpreter that has slither. One finding is
`[check, file:function]`, repeated findings in one function are one.
"""

import inspect
import json
import logging
import os
import sys
from pathlib import Path

from crytic_compile import CryticCompile
from crytic_compile.platform.solc_standard_json import SolcStandardJson
from slither import Slither
from slither.detectors import all_detectors
from slither.detectors.abstract_detector import AbstractDetector

ROOT = Path(__file__).parents[3]


def main() -> None:
    """Print the findings about our own files."""
    base = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    folder = base if len(sys.argv) > 1 else ROOT / "chain/contracts"
    os.chdir(base)
    logging.disable(logging.WARNING)
    sources = {
        file.relative_to(base).as_posix(): {"content": file.read_text()}
        for file in sorted(folder.rglob("*.sol"))
    }
    settings = {"evmVersion": "prague", "viaIR": True, "outputSelection": {}}
    target = {"language": "Solidity", "sources": sources, "settings": settings}
    solc = str(Path(__file__).with_name("solc.cjs"))
    slither = Slither(CryticCompile(SolcStandardJson(target), solc=solc))
    for _, detector in inspect.getmembers(all_detectors, inspect.isclass):
        if issubclass(detector, AbstractDetector) and detector is not AbstractDetector:
            slither.register_detector(detector)
    found = set()
    for finding in (one for ones in slither.run_detectors() for one in ones):
        if finding["elements"]:
            first = finding["elements"][0]
            file = first["source_mapping"]["filename_relative"]
            if not file.startswith("@") and "node_modules" not in file:
                found.add((finding["check"], f"{file}:{first['name']}"))
    print(json.dumps(sorted(found)))


if __name__ == "__main__":
    main()
