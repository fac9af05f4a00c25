"""A plugin of the tests that run on the floor: what they start is a node."""

from __future__ import annotations

import os

os.environ["MOSHA_FLOOR"] = "node"
