"""mosha.conf: values, defaults, and errors that name file, line and reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosha import cli, config
from mosha.config import Given
from mosha.tables.errors import TableErrors


def test_defaults_are_those_of_a_real_openmosix_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", str(tmp_path / "absent"))
    found = config.load()
    assert (found.mfsbase, found.hpcbase, found.mwhois) == ("/mfs", "/proc/hpc", "mosctl whois")
    assert str(found.var) == "/var/mosix-ha"
    assert found.lock_path == "/proc/self/lock"
    assert found.directory(3) == "/mfs/3/var/mosix-ha"


@pytest.mark.parametrize("command", [
    [], ["status"], ["check"], ["check", "cltab"], ["voters"], ["voters", "era"], ["stomith", "off", "3"],
])
def test_a_file_that_is_named_must_be_there(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    absent = tmp_path / "absent"
    assert cli.main(["--config", str(absent), *command]) == 2
    assert capsys.readouterr().err == f"{absent}: No such file or directory\n"


def test_a_file_that_cannot_be_read_as_a_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("#" * (config.FILE_BYTES_MAX + 1))
    for name, reason in (("long", "longer than"), ("", "Is a directory")):
        with pytest.raises(TableErrors, match=reason):
            config.load(str(tmp_path / name))


def test_values() -> None:
    found = config.parse("beat = 0.1 # fast\n\n# all\nlease=0.5\nstomith = /bin/sw off %n\nmynode=7\n")
    assert (found.timing.beat_s, found.timing.lease_s, found.mynode) == (0.1, 0.5, 7)
    assert [device.name for level in found.stomith for device in level] == ["sw"]


def test_stomith() -> None:
    found = config.parse(
        "stomith.2 = fence:fence_apc ip=pdu-a plug=%p && fence:fence_apc ip=pdu-b password=a#b plug=%p\n"
        "stomith = fence:fence_ipmilan ip=10.0.0.%n # first\nplug.3 = 7\n"
        "stomith_timeout = 20\nstomith_retries = 2\nstomith_verify = no\n"
    )
    assert [[device.name for device in level] for level in found.stomith] == [
        ["fence_ipmilan"], ["fence_apc", "fence_apc"]]
    (bmc,), (_, pdu) = found.stomith
    assert bmc.call("off", 4).stdin == "action=off\nnodename=4\nip=10.0.0.4\n"
    assert pdu.call("off", 3).stdin == "action=off\nnodename=3\nip=pdu-b\npassword=a#b\nplug=7\n"
    assert (found.stomith_timeout_s, found.stomith_retries, found.stomith_verify) == (20, 2, False)
    assert found.shot_limit_s > 3 * 3 * 20
    assert "a#b" not in repr(found)


def test_when_a_node_is_shot_for_what_it_cannot_end() -> None:
    assert [config.parse(text).stuck_s for text in ("", "stuck = 0", "stuck = 10.5")] == [60, 0, 10.5]


def test_voters() -> None:
    found = config.parse("voters = 9 3, 7\narbitrator = yes\n")
    assert (found.voters, found.arbitrator) == (frozenset({3, 7, 9}), True)
    assert found.voters_of(frozenset(range(1, 20))) == frozenset({3, 7, 9})
    default = config.parse("arbitrator = no")
    assert (default.voters, default.arbitrator) == (frozenset(), False)
    assert default.voters_of(frozenset({12, 3, 4})) == frozenset({3, 4, 12})
    assert default.voters_of(frozenset(range(5, 50))) == frozenset(range(5, 12))


def test_no_stomith_is_no_stomith() -> None:
    assert config.parse("stomith =\n").stomith == config.Config().stomith == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("beat 0.5", "x:1: expected `name = value`"),
        ("\nbaet = 0.5", "x:2: unknown setting 'baet'"),
        ("beat = soon", "x:1: beat must be a number of seconds"),
        ("beat = 1\nlease = 2", "x:2: lease 2 s is under 4 beats of 1 s"),
        ("beat = 1\nbeat = 1", "x:2: beat was set before, in line 1"),
        ("mynode = 0", "x:1: mynode must be a node number"),
        ("timing = 3", "x:1: unknown setting 'timing'"),
        ("beat = 1\nstomith = a &&", "x:2: a device is missing"),
        ("stomith = a\nstomith.2 = b 'c", "x:2: no closing quotation"),
        ("beat = 1\nstomith.2 = a", "x:2: stomith.2 without stomith"),
        ("stomith = a\nstomith.3 = b", "x:2: stomith.3 without stomith.2"),
        ("stomith =\nstomith.2 = b", "x:2: stomith.2 without stomith"),
        ("stomith.1 = a", "x:1: unknown setting 'stomith.1'"),
        ("stomith.10 = a", "x:1: unknown setting 'stomith.10'"),
        ("plug.x = 1", "x:1: plug.x: plug.NODE needs a node number"),
        ("plug.0 = 1", "x:1: plug.0: plug.NODE needs a node number"),
        ("plug.3 =", "x:1: plug.3 must be one word"),
        ("plug.3 = 1 2", "x:1: plug.3 must be one word"),
        ("stomith_retries = 11", "x:1: stomith_retries must be a number from 0 to 10"),
        ("stomith_retries = 00999", "x:1: stomith_retries must be a number from 0 to 10"),
        ("rundir = run/mosha", "x:1: rundir must be an absolute path, got 'run/mosha'"),
        ("\nroot = srv", "x:2: root must be an absolute path, got 'srv'"),
        ("mfsbase =", "x:1: mfsbase must be an absolute path, got ''"),
        ("hpcbase = proc/hpc", "x:1: hpcbase must be an absolute path"),
        ("varpath =", "x:1: varpath must name a directory below root"),
        ("varpath = /./", "x:1: varpath must name a directory below root"),
        ("varpath = ../etc", "x:1: varpath must name a directory below root, without .., got '../etc'"),
        ("beat = \u00b2", "x:1: beat must be a number of seconds"),
        ("root = /a\x0bbeat = 1\nbeat = 9", "x:2: lease 2.5 s is under 4 beats of 9 s"),
        ("stomith_retries = -1", "x:1: stomith_retries must be a number from 0 to 10"),
        ("voters =", "x:1: voters must name 1 to 7 nodes, got 0"),
        ("voters = 1 2 3 4 5 6 7 8", "x:1: voters must name 1 to 7 nodes, got 8"),
        ("beat = 1\nvoters = 1, 2 1", "x:2: voters names node 1 twice"),
        ("voters = 1 b", "x:1: voters must be node numbers from 1 to 65535, got 'b'"),
        ("voters = 0", "x:1: voters must be node numbers"),
        ("beat = 1\nstuck = 9", "x:2: stuck must be 0, or at least 10 seconds, got '9'"),
        ("stuck = -1", "x:1: stuck must be 0, or at least 10 seconds, got '-1'"),
        ("stuck = 1d", "x:1: stuck must be 0, or at least 10 seconds, got '1d'"),
        ("arbitrator = 1", "x:1: arbitrator must be yes or no"),
        ("stomith_verify = maybe", "x:1: stomith_verify must be yes or no"),
        ("log = mosha.log", "x:1: log must be stderr, syslog or an absolute path, got 'mosha.log'"),
        ("beat = 1\nroot = /a\0b", "x:2: NUL character in line"),
        ("beat = 1\nmwhois =", "x:2: mwhois must be a command, got ''"),
        ("mwhois = mosctl 'whois", "x:1: mwhois must be a command"),
        ("units = some", "x:1: 'some' is none of auto, cgroup, session"),
        ("stomith = a\nstomith_timeout = 400", "x:2: a shot could take 80"),
        ("stomith = a && b && c\nstomith_retries = 10\nstomith_timeout = 30", "x:3: a shot could take"),
    ],
)
def test_errors_name_file_line_and_reason(text: str, problem: str) -> None:
    with pytest.raises(TableErrors) as raised:
        config.parse(text, "x")
    assert problem in str(raised.value)


@pytest.fixture
def conf(tmp_path: Path) -> str:
    (tmp_path / "mosha.conf").write_text("beat = 0.1\nlease = 0.5\nstomith = a\nstomith.2 = b\nplug.3 = 7\n")
    return str(tmp_path / "mosha.conf")


def test_the_environment_comes_before_the_file_and_options_before_both(
    conf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOSHA_BEAT", "0.2")
    monkeypatch.setenv("MOSHA_LEASE", "1")
    monkeypatch.setenv("MOSHA_MFSBASE", "/m")
    monkeypatch.setenv("MOSHA_NODE", "of a group")
    found = config.load(conf, [Given("--lease", "lease", "2"), Given("--stomith", "stomith", "c %p")])
    assert (found.timing.beat_s, found.timing.lease_s, found.mfsbase) == (0.2, 2.0, "/m")
    assert [[device.name for device in level] for level in found.stomith] == [["c"]], "it is the only level"
    assert found.stomith[0][0].call("off", 3).argv == ("c", "7")
    monkeypatch.setenv("MOSHA_CONFIG", conf)
    assert config.load() == config.load(conf)
    monkeypatch.setenv("MOSHA_CONFIG", "/absent")
    with pytest.raises(TableErrors, match="/absent: No such file"):
        config.load()


def test_every_setting_but_levels_and_plugs_has_a_variable_and_an_option() -> None:
    fields = {"timing", "protocol", "unused"}
    known = {name.removesuffix("_s") for name in config.Config._fields} - fields
    assert set(config.NAMES) == known | {"beat", "lease", *config.SAME, *config.UNUSED}
    assert all(option in cli._parser().format_help() for option in ("--mfsbase", "--stomith-retries", "--clinit-s"))


def test_all_parameters_of_2003_are_taken(conf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that mean nothing here are said to."""
    monkeypatch.setenv("MOSHA_TIMEOUT", "60")
    found = config.load(conf, [Given("--cycletime", "cycletime", "1"), Given("--balance", "balance", "1.5")])
    assert (found.timing.beat_s, found.timing.lease_s, found.unused) == (1.0, 60.0, ("balance",))
    text = "mfsbase=/mfs\nhpcbase=/proc/hpc\nmwhois=mosctl whois\nmynode=3\nvarpath=var/mosix-ha\nclinit_s=/x\n"
    assert config.parse(text + "timeout=60\ncycletime=1\nbalance=1.5\n").unused == ("balance", "clinit_s")


@pytest.mark.parametrize(("given", "problem"), [
    ([Given("--beat", "beat", "x")], "--beat: beat must be a number of seconds, got 'x'"),
    ([Given("--beat", "beat", "1")], "--beat: lease 0.5 s is under 4 beats of 1 s"),
    ([Given("HA(x=…)", "x", "1")], "HA(x=…): unknown setting 'x'"),
    ([Given("--lease", "lease", "2"), Given("--timeout", "timeout", "2")],
     "--timeout: timeout, which is lease, was set before by --lease"),
    ([Given("--stomith", "stomith", "a &&")], "--stomith: a device is missing"),
])
def test_errors_name_the_option_and_reason(conf: str, given: list[Given], problem: str) -> None:
    with pytest.raises(TableErrors) as raised:
        config.load(conf, given)
    assert problem in str(raised.value)


def test_the_file_and_its_errors_come_with_the_options(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(conf).write_text("lease = 2\nstomith_retries = x\n")
    assert cli.main(["--config", conf, "--beat", "1", "check"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--beat: lease 2 s is under 4 beats of 1 s",
        f"{conf}:2: stomith_retries must be a number from 0 to 10, got 'x'",
    ]
    Path(conf).write_text("lease = 2\ntimeout = 3\n")
    assert cli.main(["--config", conf, "check"]) == 2
    assert capsys.readouterr().err == f"{conf}:2: timeout, which is lease, was set before, in line 1\n"


def test_check_says_what_means_nothing(conf: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--config", conf, "--root", str(tmp_path), "--balance", "1.5", "check"])
    assert "warning: balance means nothing here: the node with the fewest groups goes first" in capsys.readouterr().err


def test_a_terminal_of_another_code_ends_no_command() -> None:
    """The help has characters that this one has not."""
    done = subprocess.run([sys.executable, "-m", "mosha", "--help"], env={**os.environ, "PYTHONIOENCODING": "ascii"},
                          capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"MOSHA_MFSBASE \\u2026" in done.stdout


def test_no_message_has_a_password() -> None:
    for text in ("stomith fence:x password:geheim", "stomith = fence:x password", "stomith = fence_x password=geheim",
                 "stomith = fence:x password=geheim 'geheim", "stomith = fence:x password=geheim plug=1",
                 "stomith = fence:x ip=%n password=geheim password=geheim", "stomith = a\nstomith = geheim"):
        with pytest.raises(TableErrors) as raised:
            config.parse(text, "x")
        assert "geheim" not in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(TableErrors) as raised:
        config.parse("a\nb = 1\nbeat = x\n", "x")
    assert [error.line for error in raised.value.errors] == [1, 2, 3]


def test_the_run_directory_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    assert config.parse(f"rundir = {tmp_path}/var/mosha").rundir == os.path.realpath(tmp_path / "run/mosha")
    assert config.parse("stomith_retries = 007").stomith_retries == 7
