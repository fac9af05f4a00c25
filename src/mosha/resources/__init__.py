"""What a group holds besides processes, and how it lets go of it."""
