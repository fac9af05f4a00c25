"""``python -m mosha.clinit``."""

from mosha.clinit.cli import main

raise SystemExit(main())
