"""mosha: a cluster-wide init for openMosix; every node runs the same agent and there is no head node."""

__version__ = "0.1.0"
