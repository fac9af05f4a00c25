"""The tables of the cluster: text in, values out, errors with file, line and reason."""
