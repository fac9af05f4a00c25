"""STOMITH, shoot the other machine in the head: devices, levels, time-outs, retries, results. See docs/stomith.md."""
