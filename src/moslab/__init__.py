"""moslab: the laboratory that starts, breaks and measures clusters of nodes."""
