"""Measurements that anyone can run again: `python benchmarks/NAME.py`."""
