"""The genuine userland tools: same verbs, texts, streams and exit codes (openmosix-tools 0.3.6)."""
