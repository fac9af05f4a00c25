"""What deputy, home, host and warden say to each other, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.guests import frames, job
from emulator.guests.frames import Caller, Job, Kind

JOB = Job("/bin/e\udcffcho", ["echo", "ä\udcff"], {"PATH": "/bin"}, "/tmp", 0o22, [1, 2])
CALLER = Caller(1, "node1", 42, 42, 40, 1000, 1000, [1000, 4], -5, [(1024, -1), (0, 9)], {"lock": 1})


def test_a_frame_and_what_it_held() -> None:
    data = b"".join(frames.frame(Kind.DATA, 1 << 40, b"bytes"))
    assert len(data) == int.from_bytes(data[:4], "little") == 16 + 5
    said = frames.parse(memoryview(data))
    assert (said.kind, said.number, bytes(said.payload)) == (Kind.DATA, 1 << 40, b"bytes")
    with pytest.raises(ValueError, match="whole header"):
        frames.parse(memoryview(data[:15]))


def test_a_job_with_names_that_are_no_text() -> None:
    assert frames.parse_job(job.packed(*JOB)) == JOB
    assert frames.parse_start(frames.pack_start(CALLER, job.packed(*JOB))) == (CALLER, JOB)
    bare = JOB._replace(arguments=["", ""], environment={}, ignored=[])
    assert frames.parse_job(job.packed(*bare)) == bare


@pytest.mark.parametrize("changes", [{"arguments": []}, {"program": "a\0b"}, {"umask": -1}, {"ignored": [10**8]}])
def test_what_is_no_job(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a job"):
        frames.parse_job(job.packed(*JOB._replace(**changes)))


@pytest.mark.parametrize("said", [b"", b"a\0/\0" + b"0\0\0", b"a\0/\0000\0\0002\0a", b"a\0/\0000\0\0001\0a\0B", b"[]"])
def test_what_is_no_job_at_all(said: bytes) -> None:
    with pytest.raises(ValueError, match="not a job"):
        frames.parse_job(said)


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": -1}, {"pid": "1"}, {"groups": [0, None]}, {"gid": 1 << 32},
        {"settings": [1]}, {"settings": {"lock": "1"}}, {"nice": 20}, {"nice": None},
        {"limits": [1]}, {"limits": [(1, "2")]}, {"limits": [(-2, 0)]}, {"limits": [(1, 1)] * 17},
    ],
)  # fmt: skip
def test_what_is_no_caller(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a caller"):
        frames.parse_start(frames.pack_start(CALLER._replace(**changes), job.packed(*JOB)))
