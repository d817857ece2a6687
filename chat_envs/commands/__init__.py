"""The commands of `chat-envs` that need the suite alone: one module a command."""
