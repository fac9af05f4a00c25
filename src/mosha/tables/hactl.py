"""hactl: which level each resource group shall have, somewhere in the cluster.

One ``group level`` per line, split at blanks; ``#`` begins a comment. A group that is not named shall be
stopped, which ``stop`` says aloud.
"""

from __future__ import annotations

from mosha.tables.lines import NAME_RULE, Reader, is_name, shown

STOP = "stop"


def parse(text: str, file: str = "hactl") -> dict[str, str]:
    """{group: level}. Raises :class:`~mosha.tables.errors.TableErrors` with every problem."""
    reader = Reader(text, file)
    levels: dict[str, str] = {}
    for line in reader:
        words = line.partition("#")[0].split()
        if len(words) == 1:
            reader.problem(f"no level for group {shown(words[0])}: write 'stop' to have it stopped")
            continue
        if len(words) > 2:
            reader.problem(f"{shown(words[2])} after the level: a line is 'group level'")
            continue
        group, level = words
        if not is_name(group):
            reader.problem(f"bad group {shown(group)}: {NAME_RULE}")
        elif not is_name(level):
            reader.problem(f"bad level {shown(level)}: {NAME_RULE}")
        elif group in levels:
            reader.problem(f"group {group} is already given level {levels[group]}")
        else:
            levels[group] = level
    reader.check()
    return levels
