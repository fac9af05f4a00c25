"""Small programs that behave as devices do, and as they should not."""

from __future__ import annotations

from pathlib import Path

from mosha import config
from mosha.stomith import history
from mosha.stomith.history import Attempt
from mosha.stomith.shooting import Stomith

# A power strip: one file for each plug that is on; every call is noted. How it misbehaves is in files too.
STRIP = """#!/bin/sh
cd "{root}" || exit 9
echo "$1 $2" >> calls
test -e hang-$1 && sleep 1000
if test -s fail-$1; then left=$(cat fail-$1); echo $((left - 1)) > fail-$1; test $left -le 1 && rm fail-$1
  echo "strip: no answer"; exit 1; fi
case $1 in
  off) test -e deaf || rm -f on-$2; test -e lies && exit 1; exit 0 ;;
  on) touch on-$2 ;;
  status) if test -e on-$2; then echo on; else echo off; fi ;;
  list) ls | sed -n 's/^on-//p' ;;
esac
"""

# The same strip as a fence agent.
AGENT = """#!/bin/sh
while IFS='=' read -r name value; do
  echo "$name=$value" >> "{root}/options"
  case $name in action) action=$value ;; plug) plug=$value ;; password) password=$value ;; esac
done
test "$action" = metadata && printf '<parameter name="%s" />\n' plug password && exit 0
test "$action" = monitor && action=list
test -e "{root}/talks" && echo "logging in with $password"
words=$("{root}/strip" "$action" "$plug"); code=$?
test "$words" = off && echo "Status: OFF" && exit 2
echo "$words"
exit $code
"""


class Strip:
    """A power strip with some plugs on."""

    def __init__(self, root: Path, *plugs: int) -> None:
        self.root = root
        root.mkdir()
        for name, text in (("strip", STRIP), ("fence_strip", AGENT)):
            (root / name).write_text(text.format(root=root))
            (root / name).chmod(0o755)
        for plug in plugs:
            (root / f"on-{plug}").touch()

    @property
    def command(self) -> str:
        return f"{self.root}/strip %a %n"

    @property
    def agent(self) -> str:
        return f"fence:{self.root}/fence_strip password=geheim"

    def set(self, name: str, text: str = "") -> None:
        """Misbehave: hang-ACTION, fail-ACTION (with how often), deaf, lies, talks."""
        (self.root / name).write_text(text)

    def is_on(self, plug: int) -> bool:
        return (self.root / f"on-{plug}").exists()

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def options(self) -> list[str]:
        return (self.root / "options").read_text().splitlines()


class Rig:
    """A configuration's devices, and what was recorded of them."""

    def __init__(self, directory: Path, *lines: str) -> None:
        self.directory = directory
        self.config = config.parse("\n".join(lines))
        self.attempts: list[Attempt] = []
        self.stomith = Stomith(self.config.shooting, "agent", self._record)

    def _record(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        history.append(self.directory, attempt)

    @property
    def did(self) -> list[tuple[int, str, bool]]:
        return [(attempt.level, attempt.action, attempt.ok) for attempt in self.attempts]
