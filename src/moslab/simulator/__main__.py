"""``python -m moslab.simulator``: needs nothing but ``src`` on the path, so it runs under PyPy as well."""

from moslab.simulator.cli import main
from moslab.simulator.pypy import begin_anew

begin_anew("moslab.simulator")
raise SystemExit(main())
