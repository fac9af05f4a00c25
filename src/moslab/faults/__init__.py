"""Faults as data: what is broken, when, and for how long; one plan runs in every world that can do what it says."""
