"""Does what `alphavil train` does: trains a target task with the help of auxiliary tasks by αVIL (arXiv 2405.07769).

accelerate launch run_glue_avil.py --target rte --output_dir out/rte
accelerate launch run_glue_avil.py --target mytask --task_config tasks.yaml --auxiliary rte --output_dir out/mytask
"""

import gc
import sys

from hf_alphavil.cli.train import main

if __name__ == "__main__":
    gc.freeze()  # what the imports made stays: collections need not look at it
    sys.exit(main())
