"""A container engine of namespaces alone: no daemon, no image from anywhere, no root where users may have namespaces.

It speaks as much of Docker's interface as the laboratory uses, so all that the laboratory does with containers it does
here in the same way (docs/adr/0039). ``own`` is what a program begins and ends it with; the rest is inside.
"""
