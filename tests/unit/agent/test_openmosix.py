"""What openMosix says of the machine: the number of the node."""

from __future__ import annotations

import pytest

from mosha.config import Config
from mosha.platform.openmosix import OpenMosix


@pytest.mark.parametrize(("mynode", "mwhois", "number"), [
    (0, "echo This is openMosix 3", 3), (0, "echo This is openMosix 0", 0), (0, "true", 0),
    (3, "echo This is openMosix 3", 3), (3, "echo This is openMosix 0", 3), (3, "/nowhere/mosctl whois", 3),
])
def test_the_number_is_that_of_openmosix_or_of_the_configuration(mynode: int, mwhois: str, number: int) -> None:
    assert OpenMosix(Config(mynode=mynode, mwhois=mwhois)).whois() == number


def test_who_has_the_configuration_of_another_node_does_not_begin() -> None:
    copied = OpenMosix(Config(mynode=3, mwhois="echo This is openMosix 4"))
    with pytest.raises(OSError, match="mynode is 3, and openMosix says that this is node 4"):
        copied.whois()


def test_who_cannot_ask_and_has_no_number_waits() -> None:
    with pytest.raises(FileNotFoundError):
        OpenMosix(Config(mwhois="/nowhere/mosctl whois")).whois()
