"""``mosctl``: what the administrator sees and sets of this node and of the others.

Rules (openmosix-tools 0.3.6, mosctl(1)):

1. The exit code is 0 even where the question failed; 1 only for a bad verb, number or host name, and where
   there is no openMosix.
2. Without a node number, or with a word that is none, a question is about this node.
3. A toggle reads the old value and writes the new one to the same descriptor, without a seek. What the kernel
   refused is not reported: the success line is printed.

``gettune`` has the genuine form; of its 14 labels only the first is known to be genuine, the others are ours.
"""

from __future__ import annotations

import os
import sys

from emulator import settings
from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Verb = Callable[[list[str]], int]

USAGE = """\
Usage: mosctl { stay | nostay | lstay | nolstay | block | noblock | quiet |
                noquiet | nomfs | mfs | expel | bring | gettune | getyard |
                getdecay }
       mosctl whois [ openMosix-ID | IP-address | hostname ]
       mosctl { getload | getspeed | status | isup | getmem | getfree | getutil } [ openMosix-ID ]
       mosctl setyard [ processor-type | number | this ]
       mosctl setspeed numeric-value
       mosctl setdecay interval slow fast"""

STATUS_BITS = ((4, "stay"), (8, "lstay"), (16, "block"), (32, "quiet"), (64, "nomfs"))
UP = 2

PROCESSORS = {"PIII/1000": 10000, "PIV/1500": 15000}

#           verb: (file, value, text when changed, text when it was so already)
TOGGLES = {
    "stay": ("stay", 1,
             "Automatic load-balancing disabled: no processes will leave This node\n"
             "(except by an explicit request)",
             "Automatic load-balancing already disabled."),
    "nostay": ("stay", 0,
               "automatic load-balancing re-enabled.",
               "automatic load-balancing already enabled."),
    "lstay": ("lstay", 1,
              "No local processes will leave the node automatically.",
              "Local processes already not leaving the node automatically."),
    "nolstay": ("lstay", 0,
                "Local processes may now leave the node automatically.",
                "Local processes already allowed to leave automatically."),
    "block": ("block", 1,
              "Remote processes will not be allowed in here.",
              "Remote processes already not allowed here."),
    "noblock": ("block", 0,
                "Remote processes now allowed in.",
                "Remote processes already allowed in."),
    "quiet": ("quiet", 1,
              "Load-balancing activity is now shut-down (for fine-timing measurements)",
              "Load-balancing activity already shut-down."),
    "noquiet": ("quiet", 0,
                "Load balancing activity now resumed.",
                "Load balancing already active."),
    "nomfs": ("nomfs", 1,
              "MFS access to this node now disallowed.",
              "MFS access already disallowed to this node."),
    "mfs": ("nomfs", 0,
            "MFS access to this node now allowed.",
            "MFS access already enabled."),
}  # fmt: skip

REQUESTS = {
    "expel": "All remote processes were expelled and no further remote processes accepted.",
    "bring": "All local processes were brought back and will stay here.",
}


TUNING = (
    "Home-node overhead in processing a demand-page",
    "Remote-node overhead in processing a demand-page",
    "Home-node overhead of a system-call",
    "Remote-node overhead of a system-call",
    "Home-node base overhead of copying out",
    "Home-node overhead of copying out 1KB",
    "Remote-node base overhead of copying out",
    "Remote-node overhead of copying out 1KB",
    "Home-node base overhead of copying in",
    "Home-node overhead of copying in 1KB",
    "Remote-node base overhead of copying in",
    "Remote-node overhead of copying in 1KB",
    "Base cost of migrating a process",
    "Cost of migrating a page",
)


class NoAnswer(Exception):
    """A question about a node that failed; the text is the genuine one."""


def main() -> int:
    """Run ``mosctl`` with the arguments of this process; the exit code."""
    hpcfile.heed_signals()
    words = sys.argv[1:]
    if not hpcfile.exists():
        complain("This is NOT a OpenMosix system!")
        return 1
    if not words:
        complain(USAGE)
        return 1
    name = words[0]
    if name.startswith("-") and "no" + name[1:] in TOGGLES:
        name = "no" + name[1:]
    elif name == "-nomfs":
        name = "mfs"
    if name in TOGGLES:
        return toggle(*TOGGLES[name])
    if name in REQUESTS:
        return request(name, REQUESTS[name])
    verb = VERBS.get(name)
    if verb is None:
        print("mosctl: No such option.")
        return 1
    try:
        return verb(words[1:])
    except NoAnswer as error:
        complain(str(error))
        return 0


# --- questions about a node ---


def node_of(words: list[str]) -> tuple[int, str]:
    """The node a question is about, and its number as the genuine tool would print it."""
    if words and is_number(words[0]):
        return int(words[0]), words[0]
    try:
        own = hpcfile.read_int("admin/mospe")
    except OSError:
        own = -1
    if own == 0:
        raise NoAnswer("Error: Success")
    return own, words[0] if words else "(null)"


def value_of(words: list[str], *files: str) -> list[int]:
    """The numbers in these files of a node; NoAnswer if it is not configured or does not answer."""
    node, shown = node_of(words)
    values = []
    for name in files:
        try:
            value = hpcfile.read_int(f"nodes/{node}/{name}")
        except OSError:
            raise NoAnswer(f"Node #{shown} is not configured") from None
        if value < 0:
            raise NoAnswer(f"Error: {os.strerror(-value)}")
        values.append(value)
    return values


def status(words: list[str]) -> int:
    [bits] = value_of(words, "status")
    if bits & UP:
        print("up" + "".join("," + name for bit, name in STATUS_BITS if bits & bit) + ".")
    else:
        print("down.")
    return 0


def isup(words: list[str]) -> int:
    [bits] = value_of(words, "status")
    print("yes" if bits & UP else "no")
    return 0


def asking(text: str, *files: str) -> Verb:
    """A verb that prints ``text`` with the numbers in these files of a node."""

    def ask(words: list[str]) -> int:
        print(text.format(*value_of(words, *files)))
        return 0

    return ask


def whois(words: list[str]) -> int:
    if not words:
        try:
            print(f"This is {settings.system_name()} #{hpcfile.read_int('admin/mospe')}")
        except OSError:
            complain("Node at (null) is not configured")
        return 0
    from emulator import table  # only this form of this verb needs them
    from emulator.tools.hosts import address_of

    asked = words[0]
    try:
        records = table.parse_config(hpcfile.read("admin/config"))
    except (OSError, table.TableError):
        records = []
    if is_number(asked):
        address = table.nodes_of(records).get(int(asked))
        if address is None:
            raise NoAnswer(f"Node #{asked} is not configured")
        print(address)
        return 0
    try:
        address = address_of(asked)
    except OSError:
        complain(f"{asked}: No Such Host-Name")
        return 1
    for node, known in table.nodes_of(records).items():  # by its primary address, not by an alias
        if known == address:
            print(f"{asked} is {settings.system_name()} #{node}")
            return 0
    raise NoAnswer(f"Node at {asked} is not configured")


# --- this node ---


def toggle(name: str, value: int, changed: str, already: str) -> int:
    try:
        fd = os.open(hpcfile.path(f"admin/{name}"), os.O_RDWR)
        try:
            if int(os.read(fd, 29).rstrip(b"\0\n")) == value:
                print(already)
                return 0
            os.write(fd, b"%d\n" % value)
        finally:
            os.close(fd)
    except (OSError, ValueError):
        pass  # rule 3
    print(changed)
    return 0


def request(name: str, done: str) -> int:
    try:
        hpcfile.write(f"admin/{name}", b"1\n")
    except OSError:
        pass  # rule 3
    print(done)
    return 0


def setspeed(words: list[str]) -> int:
    if len(words) != 1 or not is_number(words[0]):
        complain(USAGE)
        return 1
    return write_numbers(("admin/speed", words[0]))


def getdecay(_words: list[str]) -> int:
    interval, slow, fast = (read_own(f"admin/{name}") for name in ("decayinterval", "slowdecay", "fastdecay"))
    print(f"Decaying statistics of active processes occurs every {interval} seconds.")
    print(f"Slow decay leaves {slow}/1000.")
    print(f"Fast decay leaves {fast}/1000.")
    return 0


def setdecay(words: list[str]) -> int:
    if len(words) != 3 or not all(map(is_number, words)):
        complain(USAGE)
        return 1
    interval, slow, fast = words
    return write_numbers(
        ("admin/decayinterval", interval), ("admin/slowdecay", slow), ("admin/fastdecay", fast)
    )


def gettune(_words: list[str]) -> int:
    try:
        values = hpcfile.read_ints("admin/overheads")
    except OSError as error:
        complain(f"Getting tune values: {error.strerror}")
        return 1
    print("\n\033[1mOpenMosix Kernel Tuning Parameters (microseconds):\033[0m\n")
    for label, value in zip(TUNING, values):
        print(f"\t{label:<47} = {value}")
    return 0


def getyard(_words: list[str]) -> int:
    speed = read_own("admin/sspeed")
    print(f"Yardstick speed currently set to {speed} ({processor_like(speed)} processor).")
    return 0


def setyard(words: list[str]) -> int:
    wanted = words[0] if words else ""
    if wanted == "this":
        speed = read_own("admin/speed")
    elif is_number(wanted):
        speed = int(wanted)
    elif wanted in PROCESSORS:
        speed = PROCESSORS[wanted]
    else:
        complain("Processor types: " + " ".join(PROCESSORS))
        return 1
    write_numbers(("admin/sspeed", str(speed)))
    print(f"Yardstick speed set to {speed} ({processor_like(speed)} processor).")
    return 0


def processor_like(speed: int) -> str:
    name = min(PROCESSORS, key=lambda name: abs(PROCESSORS[name] - speed))
    return f"{'matching' if PROCESSORS[name] == speed else 'probably'} a {name}"


def read_own(name: str) -> int:
    try:
        return hpcfile.read_int(name)
    except OSError as error:
        raise NoAnswer(f"Error: {error.strerror}") from None


def write_numbers(*pairs: tuple[str, str]) -> int:
    for name, number in pairs:
        try:
            hpcfile.write(name, number.encode() + b"\n")
        except OSError as error:
            raise NoAnswer(f"Error: {error.strerror}") from None
    return 0


VERBS: dict[str, Verb] = {
    "whois": whois,
    "status": status,
    "stat": status,
    "isup": isup,
    "getload": asking("load={}", "load"),
    "getspeed": asking("speed={}.", "speed"),
    "speedof": asking("speed={}.", "speed"),
    "getmem": asking("free memory = {} of {}", "mem", "tmem"),
    "memory": asking("free memory = {} of {}", "mem", "tmem"),
    "getfree": asking("raw free memory = {} of {}", "rmem", "tmem"),
    "getrawmem": asking("raw free memory = {} of {}", "rmem", "tmem"),
    "getutil": asking("Utilizability = {}%", "util"),
    "setspeed": setspeed,
    "gettune": gettune,
    "getdecay": getdecay,
    "setdecay": setdecay,
    "getyard": getyard,
    "setyard": setyard,
}

if __name__ == "__main__":
    sys.exit(main())
