"""Why a resource cannot be held."""

from __future__ import annotations


class ResourceError(Exception):
    """The text is for the user."""


class CommandError(ResourceError):
    """A program could not do it this time."""
