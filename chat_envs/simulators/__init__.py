"""Simulated users: offline, seeded, microseconds a turn. None of them uses a language model."""
