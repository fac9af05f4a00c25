"""9: the agent of 2003 died when syslog did. A log can be absent, slow, full or stopped without effect: standard error
(of a journal), a file, syslog."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.platform import procscan

LINES = 20_000
PROGRAM = f"""
import logging, sys, time
from mosha.platform import logs
handler = logs.begin(*sys.argv[1:] or ["stderr"])
begun = time.monotonic()
for number in range({LINES}):
    logging.info("line %d of many, %s", number, "x" * 100)
handler.flush()
print(time.monotonic() - begun, flush=True)
sys.stdin.readline()
logging.info("the last")
handler.end()
"""
SYSLOGD = """
import os, socket
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
"""
HEARD = """
import logging, sys
from mosha.platform import logs
print(os.getpid())
handler = logs.begin("syslog")
server.settimeout(60)
logging.info("group web\\nhas\\x1b two lines")
logging.warning("node 3 is gone")
for _ in range(3):
    print(server.recv(4096).decode())
os.remove("/dev/log")
server.close()
logging.info("there is nobody")
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.settimeout(0.2)
server.bind("/dev/log")
for _ in range(300):
    logging.info("there is another")
    try:
        text = server.recv(4096).decode()
    except TimeoutError:
        continue
    if "another" in text:                # what was said meanwhile may come late, or never
        print(text)
        break
handler.end()
"""
SLOW = """
import logging, time
from mosha.clinit import journal
from mosha.platform import logs
journal.RESTART_S, journal.TAKE_LIMIT_S = 0.5, 0.2
handler = logs.begin("syslog")
for number in range(5000):
    logging.info("line %d", number)
time.sleep(1.0)
server.setblocking(False)
deadline_s = time.monotonic() + 60
text = ""
while "lines lost" not in text:
    assert time.monotonic() < deadline_s
    logging.info("again")
    try:
        text = server.recv(4096).decode()
    except BlockingIOError:
        time.sleep(0.01)
while "again" not in text:
    text = server.recv(4096).decode()
print("there")
handler.end()
"""
WAIT_S = 60.0


def start(stderr: int | None, program: str = PROGRAM, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*words, sys.executable, "-c", program, *(["syslog"] if words else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
    )


EMPTY_DEV = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /dev; exec "$@"', "sh"]
"""Before a command: it has a /dev of its own, and so a syslog, or none."""


def end(process: subprocess.Popen[str]) -> None:
    """It has said all that it had to, and ends."""
    assert process.stdout is not None
    assert float(process.stdout.readline()) < WAIT_S
    process.communicate("\n", timeout=WAIT_S)
    assert process.returncode == 0


def writer_of(process: subprocess.Popen[str]) -> int:
    """Its only child, once it is there."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        found = [p.pid for p in procscan.processes().values() if p.parent == process.pid]
        if found:
            return found[0]
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_w09_a_reader_that_never_reads_holds_up_nobody() -> None:
    read_end, write_end = os.pipe()
    try:
        end(start(write_end))
    finally:
        os.close(read_end)
        os.close(write_end)


def test_w09_a_reader_that_has_gone_ends_nobody() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    end(start(write_end))
    os.close(write_end)


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null"])
def test_w09_a_disk_that_is_full_is_no_trouble(path: str) -> None:
    with open(path, "w", encoding="ascii") as stream:
        end(start(stream.fileno()))


@pytest.mark.parametrize("signo", [signal.SIGSTOP, signal.SIGKILL])
def test_w09_a_writer_that_stands_still_or_dies_is_no_trouble(signo: signal.Signals, tmp_path: Path) -> None:
    with open(tmp_path / "log", "w", encoding="ascii") as stream:
        process = start(stream.fileno())
        os.kill(writer_of(process), signo)
        end(process)


def test_w09_the_last_line_is_there_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    process = start(write_end)
    os.close(write_end)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    text = b""
    deadline_s = time.monotonic() + WAIT_S
    process.stdin.write("\n")
    process.stdin.flush()
    while piece := os.read(read_end, 65536):
        text += piece
        assert time.monotonic() < deadline_s
    os.close(read_end)
    process.communicate(timeout=WAIT_S)
    lines = text.decode().splitlines()
    assert " INFO line 0 of many" in lines[0]
    assert lines[-1].endswith("INFO the last") or b"lines lost" in text
    assert process.returncode == 0


@pytest.mark.parametrize(("path", "kept"), [("log", True), ("absent/log", False), ("/dev/full", False)])
def test_w09_a_log_file_that_cannot_be_written_is_no_trouble(path: str, kept: bool, tmp_path: Path) -> None:
    program = PROGRAM.replace('or ["stderr"]', f"or [{str(tmp_path / path)!r}]")
    end(start(None, program))
    assert (tmp_path / path).is_file() is kept
    assert not kept or (tmp_path / path).read_text(encoding="ascii").endswith("INFO the last\n")


@pytest.mark.parametrize("syslogd", ["", SYSLOGD])
def test_w09_a_syslog_that_is_absent_or_never_reads_is_no_trouble(syslogd: str) -> None:
    end(start(None, syslogd + PROGRAM, *EMPTY_DEV))


def test_w09_a_syslog_that_reads_again_hears_how_much_it_missed_and_what_comes() -> None:
    process = start(None, SYSLOGD + SLOW, *EMPTY_DEV)
    assert process.communicate(timeout=2 * WAIT_S)[0] == "there\n"
    assert process.returncode == 0


def test_w09_syslog_has_every_line_with_its_priority_and_may_be_started_again() -> None:
    process = start(None, SYSLOGD + HEARD, *EMPTY_DEV)
    pid, *lines = process.communicate(timeout=WAIT_S)[0].splitlines()
    assert process.returncode == 0
    said = [re.fullmatch(r"<(\d+)>\w{3} [ \d]\d [\d:]{8} mosha\[(\d+)\]: (.*)", line) for line in lines]
    daemon = 3 << 3
    assert [match and (int(match[1]), match[2], match[3]) for match in said] == [
        (daemon | 6, pid, "INFO group web"), (daemon | 6, pid, "has? two lines"),
        (daemon | 4, pid, "WARNING node 3 is gone"), (daemon | 6, pid, "INFO there is another"),
    ]
