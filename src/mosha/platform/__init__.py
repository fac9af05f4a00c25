"""What the agent sees of the machine and the cluster below it."""
