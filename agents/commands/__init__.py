"""The subcommands of `chat-envs` that need a language model; one module each, with `run(argv)`."""
