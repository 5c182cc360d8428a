"""This machine against NumPy on the same nets: what `fastnn bench` runs, and benchmarks/ in a checkout builds on.

sides.py says what a side of a comparison is, nets.py what it works on, rounds.py how it is timed.
"""
