"""Compares methods as `alphavil compare` does. A preset, a file of `benchmarks/presets`, may be passed by its name.

python benchmarks/compare_methods.py offline_small --output out/compare_offline --jobs 2

benchmarks/README.md describes the configuration and the output folder.
"""

import sys
from pathlib import Path

from hf_alphavil.comparing.command import main

PRESETS = {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.yaml"))}

if __name__ == "__main__":
    sys.exit(main(presets=PRESETS))
