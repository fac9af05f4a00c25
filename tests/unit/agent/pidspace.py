"""What makes a command the first process of a machine, which ends when this program does, however that ends."""

ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
OF_ITS_OWN = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
MACHINE = [*ENDS_WITH_US, *OF_ITS_OWN]
