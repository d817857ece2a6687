"""Agents that learn to talk: language models, experience, objectives, algorithms."""
