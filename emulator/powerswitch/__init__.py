"""The power switch: outside the nodes; only it may cut a node's power. It also guards a cluster's start."""
