"""``make fuzz``: every target under atheris and under hypothesis; how many inputs, and how many in a second.

What is found lies in ``out/fuzz/``: the input that broke a promise, and the corpus, with which the next run begins.
``python -m tests.fuzz TARGET FILE`` shows what an input does.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.property import hunt
from tests.fuzz.registry import TARGETS
from tests.fuzz.target import Target

OUT = Path("out/fuzz")
INPUTS = 1_100_000
PROPERTY_PART = 0.02  # of all inputs, by hypothesis: it is some 30 times as slow, and shrinks what it finds
LIMIT_S = 3600.0
UNIT_LIMIT_S = 300               # of one input: a machine may have others to serve
DONE = re.compile(r"Done (\d+) runs")
EDGES = re.compile(r" cov: (\d+) ")


class Result(NamedTuple):
    """Of one target: its inputs, seconds, branches reached, and what is wrong."""

    inputs: int
    seconds: float
    edges: int
    problem: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("file", nargs="?", type=Path, help="an input, to see what it does")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of all targets together")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    if options.file:
        TARGETS[options.target].check(options.file.read_bytes())
        print("nothing is wrong")
        return 0
    chosen = [TARGETS[options.target]] if options.target else list(TARGETS.values())
    parts = sum(target.share for target in chosen)
    print(f"{'target':<22}{'inputs':>10}{'per second':>12}{'branches':>10}", flush=True)
    inputs, wrong = 0, []
    with ThreadPoolExecutor(options.jobs) as pool:
        counts = [int(options.inputs * target.share / parts) + 1 for target in chosen]
        for target, found in zip(chosen, pool.map(run, chosen, counts)):
            inputs += found.inputs
            rate = found.inputs / max(found.seconds, 0.001)
            print(f"{target.name:<22}{found.inputs:>10}{rate:>12.0f}{found.edges:>10}", flush=True)
            if found.problem:
                wrong.append(target.name)
                print(found.problem, flush=True)
    print(f"{inputs} inputs, {len(wrong)} targets with something wrong{': ' if wrong else ''}{', '.join(wrong)}")
    return 1 if wrong else 0


def run(target: Target, inputs: int) -> Result:
    """By hypothesis, then by atheris, which is given the rest."""
    begun = time.monotonic()
    by_property, problem = hunt(target, max(1, int(inputs * PROPERTY_PART)))
    edges, by_coverage = 0, 0
    if not problem:
        by_coverage, edges, problem = cover(target, inputs - by_property)
    return Result(by_property + by_coverage, time.monotonic() - begun, edges, problem)


def cover(target: Target, inputs: int) -> tuple[int, int, str]:
    """atheris: inputs, branches, and what is wrong."""
    name = re.sub(r"\W+", "-", target.name)
    corpus = OUT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = OUT / f"{name}.words"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words or (b" ",) if word), encoding="ascii")
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.one",
        target.name,
        str(corpus),
        f"-runs={inputs}",
        f"-dict={words}",
        f"-max_len={target.bytes_max}",
        f"-artifact_prefix={OUT}/{name}-",
        f"-timeout={UNIT_LIMIT_S}",
        "-len_control=20",
    ]
    log = OUT / f"{name}.log"
    with open(log, "wb") as stream:
        ended = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False
        )
    said = log.read_text(encoding="utf-8", errors="replace")
    done, edges = DONE.search(said), EDGES.findall(said)
    if ended.returncode or done is None:
        last = "\n".join(said.splitlines()[-40:])
        return 0, 0, f"{target.name}: atheris ended with {ended.returncode}; {log} ends:\n{last}"
    return int(done[1]), int(edges[-1]) if edges else 0, ""


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
