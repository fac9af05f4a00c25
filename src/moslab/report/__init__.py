"""What a run looks like: one HTML file, a text for the terminal, a trace for Perfetto; all from a ``history.json``."""
