"""Bridges to other packages: their tasks as chat environments, our environments in their trainers.

Each bridge is one module that alone reaches its package, by name and when it is first used:

- `reasoning_gym`: the procedural tasks of `reasoning-gym`, one question and one reply;
- `text_arena`: the single-player games of `textarena`, turn by turn;
- `trl`: any environment of this suite inside the trainers of TRL.

Their packages are extras (`pip install 'chat-envs[reasoning-gym]'`, `[textarena]`, `[trl]`), so no
id of theirs is in the suite's table. Register what you want to use:

    import chat_envs

    chat_envs.register(
        "reasoning_gym/leg_counting-v0",
        "chat_envs.bridges.reasoning_gym:ReasoningGym",
        kwargs={"dataset": "leg_counting"},
    )
    chat_envs.register(
        "text_arena/GuessTheNumber-v0",
        "chat_envs.bridges.text_arena:TextArena",
        kwargs={"game": "GuessTheNumber-v0"},
    )
    env = gymnasium.make("text_arena/GuessTheNumber-v0")
"""
