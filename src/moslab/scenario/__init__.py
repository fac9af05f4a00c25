"""Scenarios: what a test writes against, in whatever world (docs/laboratory.md)."""
