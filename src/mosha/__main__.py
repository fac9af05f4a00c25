"""``python -m mosha`` and ``mosha.pyz``."""

from mosha.cli import main

raise SystemExit(main())
