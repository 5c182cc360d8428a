"""Ways to run a Program other than the C engine."""
