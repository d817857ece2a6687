"""Built-in rewards: one measure a module, each with its range and the ways to cheat it.

They are reached by id, `reward="length_band"`, or with keywords,
`reward={"length_band": {"weight": 0.5, "kwargs": {"low": 5, "high": 20}}}`; the table of ids is
`chat_envs.reward.builtin.BUILTIN`. All point upwards, what is bad is a negative number: so every
one of them is mixed in with a weight above 0.
"""
