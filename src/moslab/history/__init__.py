"""What happened, as data, and what is said about it: intervals of processes, operations, faults, and their checkers.

Nothing here knows the protocol, the agent or the world that a history came from.
"""
