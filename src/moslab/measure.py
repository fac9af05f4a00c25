"""Coverage of the code that runs in nodes: into the image before, out of the containers after.

With MOSLAB_COVERAGE=1 the image carries the coverage package of this environment (its C tracer too, if this
Python is the image's), and each program starts measuring before it imports anything, as ``coverage/coveragerc`` says.
What it measured lies in ``DATA``, in the container's own file system, and is there until the container is removed.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

from moslab.errors import CannotError

DATA = "/var/lib/coverage"
PYTHON_OF_IMAGE = (3, 11)



def files(under: str) -> Iterator[tuple[str, bytes, int]]:
    """(name, content, mode) of what the image needs; CannotError where coverage is not installed."""
    found = importlib.util.find_spec("coverage")
    if found is None or found.origin is None:
        raise CannotError("MOSLAB_COVERAGE=1 needs the coverage package: pip install coverage")
    package = Path(found.origin).parent
    for path in package.rglob("*"):
        native = path.suffix == ".so" and sys.version_info[:2] == PYTHON_OF_IMAGE
        if path.is_file() and (path.suffix == ".py" or native):
            yield f"{under}/coverage/{path.relative_to(package).as_posix()}", path.read_bytes(), 0o644


def collect(container: Container, into: Path) -> int:
    """Copy a container's data files (it may be stopped) into a directory; returns how many there were."""
    try:
        chunks, _stat = container.get_archive(DATA)
    except NotFound:
        return 0
    count = 0
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                target = into / f".coverage.{container.name}.{Path(member.name).name.lstrip('.')}"
                target.write_bytes(content.read())
                count += 1
    return count
