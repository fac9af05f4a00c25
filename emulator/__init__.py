"""Userland openMosix: ``/mfs``, ``/proc/hpc``, ``mosctl`` and friends. Knows nothing of mosha."""
