"""The world of real machines: an inventory, a keeper on each of them over ssh, clocks that are compared (adr/0041)."""
