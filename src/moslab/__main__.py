"""``python -m moslab``."""

from moslab.entry import main

raise SystemExit(main())
