"""What a device is: a command, a fence agent of ClusterLabs, or a function of whoever made the agent (``mosha.HA``).
Texts in, calls and verdicts out; nothing is run here.

Rules:

1. A *level* is one or more devices joined by ``&&``; it has switched a node off when all of them have.
2. ``%n`` is the node's number, ``%p`` its plug, ``%a`` the action, ``%%`` a ``%``.
3. A command that has neither ``%n`` nor ``%p`` gets the number as its last word, as in 2003. One without ``%a`` can
   switch off and nothing else.
4. A fence agent, ``fence:PROGRAM name=value…``, gets its options on standard input, one a line, with ``action`` and
   ``nodename``. A device that would do the same to whatever node it is asked for is refused.
5. Where a map of plugs is given, a node that is not in it has no plug: a wrong plug is another machine.
6. A fence agent ignores options that it does not know, and succeeds: what it knows is in its metadata.
7. Success is exit code 0, and of a function True. A state is what the device says that it is; whatever else it says is
   ``unknown``. A fence agent that is asked for the status of what is off ends with 2, which is also wrong usage to
   shells, to optparse, and to agents themselves: so it is off only if a line of its answer says so, as they all do.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Callable, NamedTuple, Union

from mosha.tables.lines import is_node

ON, OFF, UNKNOWN = "on", "off", "unknown"
METADATA = "metadata"
AGENT_PREFIX = "fence:"
DEVICES_MAX = 8
CHARACTERS_MAX = 4096
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OWN_OPTIONS = ("action", "option", "agent")
_PLUG_OPTIONS = ("plug", "port", "nodename")
_SECRET = re.compile(r"pass(w|phrase)|pwd|secret|token|community|credential|key", re.IGNORECASE)
_PARAMETER = re.compile(r"<parameter\s[^>]*?name=[\"']([^\"']+)")
_SAYS_OFF = re.compile(r"^\s*Status: OFF\s*$", re.IGNORECASE | re.MULTILINE)
_ESCAPE = re.compile(r"%(.?)", re.DOTALL)


class CannotError(Exception):
    """This device cannot be asked this, about this node; the reason."""


class Call(NamedTuple):
    """A program to run, and what it is given on standard input; or a function, and what it is called."""

    argv: tuple[str, ...]
    stdin: str = ""
    function: Callable[[], object] | None = None


class Command(NamedTuple):
    """A command line with ``%n``, ``%p`` and ``%a``."""

    words: tuple[str, ...]
    plugs: Mapping[int, str]

    def __repr__(self) -> str:
        return self.name                             # what else it has may be secret

    @property
    def name(self) -> str:
        """What it is called in logs: the program, without arguments."""
        return os.path.basename(self.words[0])

    @property
    def program(self) -> str:
        return self.words[0]

    @property
    def tells_status(self) -> bool:
        """Whether it can be asked anything without switching."""
        return _has("a", self.words)

    @property
    def shared(self) -> bool:
        """Whether it is one device for all nodes, that can be asked for a list."""
        return self.tells_status and all(word in ("%n", "%p") or not _has("np", (word,)) for word in self.words)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen in a log."""
        named = [word.partition("=")[2] for word in self.words if _is_secret(word.partition("=")[0])]
        after = [value for name, value in zip(self.words, self.words[1:]) if name[:1] == "-" and _is_secret(name)]
        return tuple(value for value in named + after if value)

    def call(self, action: str, node: int | None) -> Call:
        """Raises CannotError."""
        if action != OFF and not self.tells_status:
            raise CannotError(f"{self.name} can only switch off: its command has no %a")
        if node is None:
            return Call(tuple(_fill(word, action, 0, "") for word in self.words if word not in ("%n", "%p")))
        plug = _plug(self.plugs, node) if _has("p", self.words) else ""
        return Call(tuple(_fill(word, action, node, plug) for word in self.words))

    def probe(self) -> str:
        """The action that tells whether the device answers, where it is shared."""
        return "list"

    def state(self, code: int | None, words: str) -> str:
        """What an answer to ``status`` says: the last word counts, and exit code 0."""
        last = (words.split() or [""])[-1].strip(".:'\"").lower()
        return last if code == 0 and last in (ON, OFF) else UNKNOWN


class FenceAgent(NamedTuple):
    """A program by the convention of ClusterLabs' fence agents."""

    program: str
    options: Mapping[str, str]
    plugs: Mapping[int, str]

    def __repr__(self) -> str:
        return self.name                             # what else it has may be secret

    @property
    def tells_status(self) -> bool:
        """Whether it can be asked anything without switching."""
        return True

    @property
    def name(self) -> str:
        """What it is called in logs: the program, without options."""
        return os.path.basename(self.program)

    @property
    def shared(self) -> bool:
        """Whether it is one device for all nodes, that can be asked for a list."""
        return not _has("np", [value for name, value in self.options.items() if name not in _PLUG_OPTIONS])

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen in a log."""
        return tuple(_fill(v, "", 0, "") for name, v in self.options.items() if v and _is_secret(name))

    def call(self, action: str, node: int | None) -> Call:
        """Raises CannotError."""
        options = {"action": action}
        if node is None:
            options.update((n, _fill(v, action, 0, "")) for n, v in self.options.items() if not _has("np", (v,)))
        else:
            options["nodename"] = str(node)
            plug = _plug(self.plugs, node) if _has("p", self.options.values()) else ""
            options.update((name, _fill(value, action, node, plug)) for name, value in self.options.items())
        return Call((self.program,), "".join(f"{name}={value}\n" for name, value in options.items()))

    def probe(self) -> str:
        """The action that tells whether the device answers, where it is shared."""
        return "monitor"

    def ignored(self, metadata: str) -> str:
        """Which options mean nothing to the agent, by its answer to ``metadata``; empty if that tells of none."""
        known = set(_PARAMETER.findall(metadata))
        unknown = [name for name in self.options if name.replace("-", "_") not in known]
        if known and unknown:
            return f"it does not know {', '.join(unknown)}, and would ignore that"
        naming = {name for name, value in self.options.items() if _has("np", (value,))}
        if "port_as_ip" in known and "port_as_ip" not in self.options and naming <= {"plug", "port"}:
            return "it ignores plug without port_as_ip=1, and would do the same for every node"
        return ""

    def state(self, code: int | None, words: str) -> str:
        """What an answer to ``status`` says."""
        if code == 0:
            return ON
        return OFF if code == 2 and _SAYS_OFF.search(words) else UNKNOWN


class Function(NamedTuple):
    """``function(node)`` returns True when the node is off for certain; it can do nothing else."""

    function: Callable[[int], object]

    @property
    def tells_status(self) -> bool:
        """It cannot be asked anything."""
        return False

    @property
    def shared(self) -> bool:
        """Nor has it a list."""
        return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """It is not asked with any."""
        return ()

    @property
    def name(self) -> str:
        """What it is called in logs."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def program(self) -> str:
        """What it is run by."""
        return sys.executable

    def call(self, action: str, node: int | None) -> Call:
        """Raises CannotError."""
        if action != OFF or node is None:
            raise CannotError(f"{self.name} can only switch off")
        return Call((self.name,), function=partial(self.function, node))

    def probe(self) -> str:
        """It cannot be asked anything."""
        return "list"

    def state(self, _code: int | None, _words: str) -> str:
        """It tells none."""
        return UNKNOWN


Device = Union[Command, FenceAgent, Function]
Level = tuple[Device, ...]


def parse_level(text: str, plugs: Mapping[int, str]) -> Level:
    """The devices of one level; raises ValueError with the reason, which never contains a value."""
    if len(text) > CHARACTERS_MAX:
        raise ValueError(f"a level is longer than {CHARACTERS_MAX} characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()} in a command") from None
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    if not all(part and part[0] for part in parts):
        raise ValueError("a device is missing: a level is DEVICE, or DEVICE && DEVICE")
    if len(parts) > DEVICES_MAX:
        raise ValueError(f"a level has at most {DEVICES_MAX} devices")
    return tuple(_parse_device(part, plugs) for part in parts)


def parse_plugs(text: str) -> dict[int, str]:
    """``3:7;4:8`` as {node: plug}; raises ValueError with the reason."""
    plugs: dict[int, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(";"))):
        node, colon, plug = pair.partition(":")
        if not colon or not plug or not is_node(node):
            raise ValueError(f"plugs are NODE:PLUG;NODE:PLUG, got {pair!r}")
        if int(node) in plugs:
            raise ValueError(f"node {node} has two plugs")
        plugs[int(node)] = plug
    if not plugs:
        raise ValueError("plugs are NODE:PLUG;NODE:PLUG, got nothing")
    return plugs


def redact(device: Device, words: str) -> str:
    """What the device said, without its secrets."""
    for secret in sorted(device.secrets, key=len, reverse=True):
        words = words.replace(secret, "***")
    return words


def _parse_device(words: list[str], plugs: Mapping[int, str]) -> Device:
    if words[0].startswith(AGENT_PREFIX):
        return _parse_agent(words[0][len(AGENT_PREFIX) :], words[1:], plugs)
    if os.path.basename(words[0]).startswith("fence_") and any(_OPTION.match(w) and "=" in w for w in words[1:]):
        raise ValueError(f"a fence agent with options name=value is written {AGENT_PREFIX}{words[0]} …")
    _check_escapes(words, "anp")
    if _has("np", words[:1]) or _has("a", words[:1]):
        raise ValueError("the program of a command must be the same for all nodes and actions")
    return Command(tuple(words if _has("np", words) else [*words, "%n"]), plugs)


def _parse_agent(program: str, words: list[str], plugs: Mapping[int, str]) -> FenceAgent:
    if not program:
        raise ValueError(f"{AGENT_PREFIX} without a program")
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _OPTION.fullmatch(name):
            raise ValueError(f"options of {program} are name=value")
        if name in _OWN_OPTIONS:
            raise ValueError(f"{name} of {program} is not an option here: the agent is told what to do at each call")
        if name in options:
            raise ValueError(f"{name} of {program} is given twice")
        options[name] = value
    own = options.pop("plugs", None)
    _check_escapes(options.values(), "np")
    if not _has("np", options.values()) and not any(name in options for name in _PLUG_OPTIONS):
        options["plug"] = "%p"
    if not _has("np", options.values()):
        raise ValueError(f"{program} would do the same for every node: say where %n (node) or %p (plug) goes")
    if own is not None and not _has("p", options.values()):
        raise ValueError(f"plugs of {program} are not used: say where %p goes")
    return FenceAgent(program, options, parse_plugs(own) if own is not None else plugs)


def _check_escapes(texts: Iterable[str], known: str) -> None:
    for text in texts:
        for found in _ESCAPE.finditer(text):
            if found[1] not in (*known, "%"):
                raise ValueError(f"%{found[1]} means nothing: %n is the node, %p its plug, %a the action, %% a %")


def _has(letters: str, texts: Iterable[str]) -> bool:
    return any(found[1] and found[1] in letters for text in texts for found in _ESCAPE.finditer(text))


def _fill(text: str, action: str, node: int, plug: str) -> str:
    values = {"n": str(node), "p": plug, "a": action, "%": "%"}
    return _ESCAPE.sub(lambda found: values[found[1]], text)


def _plug(plugs: Mapping[int, str], node: int) -> str:
    if plugs and node not in plugs:
        raise CannotError(f"no plug is given for node {node}")
    return plugs.get(node, str(node))


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None and not name.endswith("_script")
