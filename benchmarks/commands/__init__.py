"""The subcommands of `chat-envs` that read what benchmarks left."""
