"""Tests of the scripts in docs/ that write pages."""
