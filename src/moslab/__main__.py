"""``python -m moslab``."""

import sys

from moslab.cli import main

sys.exit(main())
