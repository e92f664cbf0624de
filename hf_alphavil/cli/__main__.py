"""`python -m hf_alphavil.cli` and `accelerate launch -m hf_alphavil.cli`: the same as `alphavil`."""

import sys

from .main import main

sys.exit(main())
