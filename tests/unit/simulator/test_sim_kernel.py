"""Virtual time, streams, and the disk that a crash leaves."""

from __future__ import annotations

import threading

import pytest

from moslab.simulator.disk import Disk
from moslab.simulator.kernel import Kernel, Stood, Stream


def test_calls_come_in_the_order_of_time_and_then_of_asking() -> None:
    kernel, seen = Kernel(), []
    for at, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "d"), (9.0, "never")):
        kernel.at(at, lambda name: seen.append((kernel.now, name)), name)
    assert kernel.run(5.0, 100)
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c"), (3.0, "d")]
    assert (kernel.now, kernel.calls) == (5.0, 4)


def test_a_call_for_the_past_comes_now() -> None:
    kernel, seen = Kernel(), []
    kernel.at(2.0, lambda _: kernel.at(1.0, lambda _: seen.append(kernel.now)))
    kernel.run(3.0, 100)
    assert seen == [2.0]


def test_a_run_has_a_bound_on_its_calls() -> None:
    kernel = Kernel()

    def again(_: object) -> None:
        kernel.at(kernel.now, again)

    again(None)
    assert not kernel.run(1.0, 50)
    assert kernel.calls == 50


def test_a_call_may_stand_while_others_are_made_and_goes_on_in_its_turn() -> None:
    kernel, seen = Kernel(), []
    kernel.may_stand = True

    def stands(name: str, until_s: float) -> None:
        seen.append((kernel.now, name))
        stood = Stood()
        kernel.at(until_s, stood.go_on)
        kernel.stand(stood)
        seen.append((kernel.now, f"{name} again"))

    kernel.at(1.0, lambda _: stands("a", 4.0))
    kernel.at(2.0, lambda _: stands("b", 3.0))
    kernel.at(2.5, lambda _: stands("c", 7.0))
    for at_s in (2.0, 3.0, 4.0, 6.0):
        kernel.at(at_s, lambda _: seen.append((kernel.now, "other")))
    assert kernel.run(5.0, 100), "one goes on in a later run"
    assert seen == [
        (1.0, "a"), (2.0, "b"), (2.0, "other"), (2.5, "c"), (3.0, "other"), (3.0, "b again"), (4.0, "other"),
        (4.0, "a again"),
    ]
    assert kernel.run(8.0, 100)
    assert seen[8:] == [(6.0, "other"), (7.0, "c again")]
    assert kernel.calls == 10
    kernel.close()


def test_what_stands_when_the_run_is_over_does_nothing_more() -> None:
    kernel, seen = Kernel(), []
    kernel.may_stand = True
    before = threading.active_count()

    def stands(_: object) -> None:
        try:
            kernel.stand(Stood())
        except Exception:    # noqa: BLE001  (what an agent would do)
            seen.append("an error of its own")
        seen.append("goes on")

    for _ in range(3):
        kernel.at(1.0, stands)
    assert kernel.run(2.0, 100)
    kernel.close()
    assert (seen, threading.active_count()) == ([], before)


def test_what_a_call_raises_is_raised_by_the_run() -> None:
    kernel = Kernel()
    kernel.may_stand = True

    def stands(_: object) -> None:
        stood = Stood()
        kernel.at(2.0, stood.go_on)
        kernel.stand(stood)
        raise ValueError("after it stood")

    kernel.at(1.0, stands)
    with pytest.raises(ValueError, match="after it stood"):
        kernel.run(3.0, 100)


def test_streams_are_the_same_for_ever_and_each_is_its_own() -> None:
    draw = Stream(7, "network")
    assert [draw.integer(0, 999) for _ in range(5)] == [246, 623, 681, 746, 884]
    assert Stream(7, "power").random() != Stream(7, "network").random() != Stream(8, "network").random()


def test_draws_keep_to_their_range() -> None:
    draw = Stream(1, "x")
    assert {draw.integer(1, 3) for _ in range(100)} == {1, 2, 3}
    assert {draw.pick("ab") for _ in range(100)} == {"a", "b"}
    assert {draw.weighted([(0.0, "no"), (1.0, "yes")]) for _ in range(20)} == {"yes"}
    assert all(2.0 <= draw.uniform(2.0, 3.0) < 3.0 for _ in range(100))
    assert not draw.chance(0.0)
    some = draw.some(list(range(10)), 4)
    assert len(some) == 4
    assert some == sorted(set(some))


class Watched(Disk):
    """A disk that remembers which watched names have changed."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        super().__init__(frozenset({"cltab"}), self.seen.append)


def test_what_is_written_is_seen_at_once_and_survives_after_a_sync() -> None:
    disk = Watched()
    disk.write("a", 0, b"old")
    disk.sync()
    disk.write("a", 1, b"XYZ")
    assert disk.read("a") == b"oXYZ"
    disk.sync()
    for seed in range(20):
        disk.crash(Stream(seed, "disk"))
        assert disk.read("a") == b"oXYZ"


def test_a_crash_leaves_old_or_new_or_the_beginning_of_the_new() -> None:
    left = set()
    for seed in range(60):
        disk = Watched()
        disk.write("a", 0, b"o" * 1024)
        disk.sync()
        disk.write("a", 0, b"n" * 1024)
        disk.replace("b", b"new", durable=False)
        disk.crash(Stream(seed, "disk"))
        content = disk.read("a")
        left.add((content[:1], content[-1:], disk.files.get("b")))
        assert content.lstrip(b"n").strip(b"o") == b""
    assert {(first, last) for first, last, _ in left} == {(b"o", b"o"), (b"n", b"n"), (b"n", b"o")}
    assert {b for _, _, b in left} == {None, b"new"}


def test_what_replaces_durably_is_never_lost() -> None:
    for seed in range(20):
        disk = Watched()
        disk.write("a", 0, b"in place")
        disk.replace("a", b"whole", durable=True)
        disk.crash(Stream(seed, "disk"))
        assert disk.read("a") == b"whole"


def test_a_torn_write_is_seen_half_until_it_is_finished() -> None:
    disk = Watched()
    disk.write("a", 0, b"oooo")
    disk.tear("a", 0, b"nnnn", 2)
    assert disk.files["a"] == b"nnoo"
    disk.finish("a")
    assert disk.read("a") == b"nnnn"
    disk.tear("a", 0, b"1234", 1)
    disk.write("a", 3, b"x")                             # the next change finds the torn one done
    disk.finish("a")
    assert disk.read("a") == b"123x"


def test_names_gaps_and_removal() -> None:
    disk = Watched()
    disk.write("slot", 4, b"x")
    disk.replace("cltab", b"t", durable=True)
    disk.rename("slot", "other")
    disk.remove("nothing")
    assert (disk.names(), disk.read("other"), disk.seen) == (["cltab", "other"], b"\0\0\0\0x", ["cltab"])
    disk.remove("other")
    with pytest.raises(FileNotFoundError):
        disk.read("other")
    disk.wipe()
    assert disk.names() == []
