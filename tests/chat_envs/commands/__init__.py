"""Tests of the commands that need the suite alone."""
