"""`python -m hf_alphavil`: the same as `alphavil`."""

import sys

from .cli.main import main

sys.exit(main())
