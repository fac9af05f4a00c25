"""Who may run a resource group: Disk Paxos on the voters' directories, and one lease for each node.

Everything in here is sans-IO: it is told the time and what tasks brought, and it says which tasks it wants. The facade
is :class:`mosha.ownership.disk_paxos.DiskPaxos`; docs/ownership.md has the rules and why they hold.

The promise: ``held(g)`` and ``lease_end(g) > now`` on at most one node at any instant, for every group ``g``.
"""
