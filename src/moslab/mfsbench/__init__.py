"""``bench-mfs``: the speed of MFS beside file systems that nobody here wrote."""
