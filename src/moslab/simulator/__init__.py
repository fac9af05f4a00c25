"""Whole clusters under virtual time, from a seed: the agent's own code on modelled machines.

What is real: everything of :mod:`mosha` above the port :mod:`mosha.platform.world`, and the state machine of a group.
What is modelled: clocks, disks, the network and MFS, power, init, guardians and the processes of groups.
Nothing depends on a wall clock, on hash order or on the version of Python: one seed, one trace.
"""
