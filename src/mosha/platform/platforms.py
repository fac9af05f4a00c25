"""The platforms that there are, by the setting ``platform``."""

from __future__ import annotations

from mosha.config import OPENMOSIX, SHARED_DIRECTORY, Config
from mosha.platform.openmosix import OpenMosix
from mosha.platform.shared_directory import SharedDirectory
from mosha.platform.tasks import Tasks

CLASSES: dict[str, type[Tasks]] = {OPENMOSIX: OpenMosix, SHARED_DIRECTORY: SharedDirectory}


def of(config: Config) -> Tasks:
    """That of the configuration."""
    return CLASSES[config.platform](config)
