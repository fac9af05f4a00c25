"""Processes whose home is one node and whose body runs on another.

::

    home                                                                    the node where the body runs
    deputy ──unix socket── openmosixd (home) ──TCP 4660── openmosixd (host) ──socket pair── warden ── body
    keeps pid, parent,     knows who is away,             knows its guests                  pipes, signals,
    stdio, exit status     watches the other node         watches their homes               exit status
"""
