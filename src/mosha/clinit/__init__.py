"""One node's init: the processes of each resource group, its levels and run modes, and their leash."""
