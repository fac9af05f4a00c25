"""The kernel's FUSE protocol over a raw /dev/fuse descriptor, without a library."""
