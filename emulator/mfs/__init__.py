"""MFS in user space: every node's files under ``/mfs/<node>``, asked of the node that owns them, never cached."""
