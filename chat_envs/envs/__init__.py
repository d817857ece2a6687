"""The environments: one file each, reached through `chat_envs.registration` by name."""
