"""The tree that a genuine kernel shows in ``/proc``: ``hpc/`` and what it adds to ``<pid>/``."""
