"""The commands of ``python -m mmlib``, one file each."""
