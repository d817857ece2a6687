"""Measurements: what the suite and its agents cost, and what they learn."""
