"""`CustomerService`: levels, rules of reward and success, splits, and that no trick pays."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_envs.envs import _customer_service_goal, customer_service
from chat_envs.envs.customer_service import PRESETS, CustomerService, make_vector
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS
from chat_envs.tokenizer import train_tokenizer

Policy = Callable[[CustomerService], str]
TIERS = ("easy", "default", "hard")
DATA = customer_service._data()


def make(tier: str = "easy", **kwargs: Any) -> CustomerService:
    """Return an environment whose context holds any episode, whatever the tokenizer."""
    kwargs = {"context_length": 4000, "reply_length": 128} | kwargs
    return CustomerService(tier=tier, **kwargs)


def expert(env: CustomerService) -> str:
    return env.expert_reply()


def blind(env: CustomerService) -> str:
    return env.blind_reply()


def play(
    env: CustomerService, policy: Policy, seed: int
) -> tuple[float, dict[str, Any]]:
    """Play an episode; return its return and last info."""
    env.reset(seed=seed)
    total = 0.0
    while True:
        _, reward, terminated, truncated, info = env.step(env.encode(policy(env)))
        total += float(reward)
        if terminated or truncated:
            return total, info


def levels(env: CustomerService, policy: Policy, num: int) -> tuple[float, float]:
    """Return mean return and mean success over `num` episodes."""
    episodes = [play(env, policy, seed) for seed in range(num)]
    return (
        float(np.mean([total for total, _ in episodes])),
        float(np.mean([info["success"] for _, info in episodes])),
    )


def say(env: CustomerService, *replies: str) -> dict[str, Any]:
    """Say `replies` in turn; return the last info, with the reward."""
    info: dict[str, Any] = {}
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        info |= {"reward": reward, "terminated": terminated, "truncated": truncated}
    return info


def with_goal(
    env: CustomerService, intent: str, outcome: str | None = None
) -> dict[str, str]:
    """Reset to the first seed whose customer wants `intent`; return what the customer knows."""
    for seed in range(500):
        env.reset(seed=seed)
        errand = env._scenario.errands[0]
        wanted = outcome is None or errand.facts.get("outcome") == outcome
        if errand.constraints["intent"] == intent and wanted and not errand.mistake:
            return dict(errand.constraints)
    raise AssertionError(f"no seed has {intent} {outcome}")


def last(env: CustomerService) -> str:
    return env.conversation[-1].content


# Levels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("tier", "least"), [("easy", 1.0), ("default", 0.95), ("hard", 0.9)]
)
def test_the_expert_succeeds(tier: str, least: float, split: str) -> None:
    mean_return, success = levels(make(tier, split=split), expert, 120)
    assert success >= least
    assert mean_return > 0.7


@pytest.mark.parametrize("tier", TIERS)
def test_the_blind_policy_fails(tier: str) -> None:
    env = make(tier)
    best, _ = levels(env, expert, 60)
    mean_return, success = levels(env, blind, 60)
    assert success <= 0.15
    assert mean_return / best <= 0.15


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(HOSTILE_REPLIERS))
def test_hostile_repliers_earn_nothing(tier: str, name: str) -> None:
    env = make(tier)
    low, _ = levels(env, blind, 25)
    high, _ = levels(env, expert, 25)
    mean_return, success = levels(env, HOSTILE_REPLIERS[name], 25)
    assert (mean_return - low) / (high - low) <= 0.25
    assert success == 0.0


TRICKS: dict[str, Policy] = {
    "confirm everything": lambda env: "Yes .",
    "claim success": lambda env: "It is done .",
    "refuse": lambda env: "I can not , it is packed .",
    "guess the status": lambda env: "It is delivered .",
    "every action": lambda env: "\n".join(
        r for r in env.candidate_replies() if "ACTION" in r
    ),
    "one action a turn": lambda env: env.candidate_replies()[env.turn],
    "every candidate": lambda env: " ".join(env.candidate_replies()),
    "every check": lambda env: "ACTION check "
    + " ".join([*DATA["entities"]["name"], *"0123456789"]),
    "claim and refuse": lambda env: "It is done . I can not .",
    "the item, unverified": lambda env: "ACTION refund "
    + str(env._scenario.errands[0].constraints["item"]),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(TRICKS))
def test_tricks_do_not_win(tier: str, name: str) -> None:
    mean_return, success = levels(make(tier), TRICKS[name], 40)
    assert success == 0.0
    assert mean_return < 0.0


@pytest.mark.parametrize("tier", TIERS)
def test_a_careless_clerk_fails_by_violations_alone(tier: str) -> None:
    env, rng = make(tier), np.random.default_rng(0)
    violated = []
    for seed in range(60):
        _, info = play(env, lambda e: e.careless_reply(rng, probability=1.0), seed)
        wrote = any(e.constraints["intent"] != "status" for e in env._scenario.errands)
        violated.append(info["metrics"]["violations"] > 0)
        if tier == "easy":
            assert violated[-1] == wrote == (not info["success"])
    assert np.mean(violated) > 0.6


def test_carelessness_is_decided_once_an_episode_and_at_its_rate() -> None:
    env, rng = make(), np.random.default_rng(0)
    flags = []
    for seed in range(200):
        play(env, lambda e: e.careless_reply(rng, 0.4), seed)
        flags.append(env._is_careless)
    assert (
        abs(np.mean([bool(flag) for flag in flags]) - 0.4) < 0.14
    )  # four standard errors
    played = levels(make(), lambda e: e.careless_reply(rng, 0.0), 30)
    assert played == levels(make(), expert, 30)


# Success and reward ----------------------------------------------------------------------------


def test_a_dialogue_that_succeeds() -> None:
    env = make()
    c = with_goal(env, "refund", "done")
    info = say(env, "Your name and code ?")
    assert not info["terminated"] and info["reward"] == pytest.approx(-0.02)
    say(env, f"ACTION check {c['name']} {c['code']}")
    assert env.conversation[-1].role is Role.SYSTEM
    assert last(env) == f"{c['item']} delivered"
    say(env, f"ACTION refund {c['item']}")
    assert last(env) == "done"
    info = say(env, "It is done .")
    assert info["success"] and info["termination_reason"] == "solved"
    assert info["reward"] == pytest.approx(0.98)
    assert info["reward_components"] == {
        "success": 1.0,
        "turn_cost": -0.02,
        "violation": 0.0,
    }
    assert info["metrics"] == {
        "success": 1.0,
        "turns": 4.0,
        "violations": 0.0,
        "unfounded_claims": 0.0,
    }


def test_a_write_without_verification_costs_half_and_the_success() -> None:
    env = make()
    c = with_goal(env, "refund", "done")
    info = say(env, f"ACTION refund {c['item']}")
    assert info["reward_components"] == {
        "success": 0.0,
        "turn_cost": -0.02,
        "violation": -0.5,
    }
    info = say(env, f"ACTION check {c['name']} {c['code']}", "It is done .")
    assert (
        env._scenario.world.changes == env._scenario.goal
    )  # all is right but the order
    assert info["terminated"] and not info["success"]
    assert info["termination_reason"] == "goodbye"


def test_a_write_that_the_policy_forbids_is_a_violation() -> None:
    env = make()
    c = with_goal(env, "refund", "refused")
    check = f"ACTION check {c['name']} {c['code']}"
    info = say(env, check, f"ACTION refund {c['item']}")
    assert info["metrics"]["violations"] == 1.0


def test_a_refusal_needs_a_look_at_the_record() -> None:
    env = make()
    c = with_goal(env, "refund", "refused")
    info = say(env, "I can not , it is packed .")
    assert not info["terminated"] and "check" in last(env)
    info = say(env, f"ACTION check {c['name']} {c['code']}", "I can not .")
    assert info["success"]


def test_a_refusal_of_what_is_allowed_is_believed_and_fails() -> None:
    env = make()
    c = with_goal(env, "refund", "done")
    info = say(env, f"ACTION check {c['name']} {c['code']}", "I can not .")
    assert info["terminated"] and not info["success"]


def test_a_lie_about_success_is_believed_and_fails() -> None:
    env = make()
    with_goal(env, "refund", "done")
    info = say(env, "It is done .")
    assert info["terminated"] and not info["success"]
    assert info["metrics"]["unfounded_claims"] == 1.0


def test_a_wrong_status_is_unfounded_and_fails() -> None:
    env = make()
    c = with_goal(env, "status")
    truth = env._scenario.errands[0].facts["status"]
    wrong = "sent" if truth == "packed" else "packed"
    info = say(env, f"ACTION check {c['name']} {c['code']}", f"It is {wrong} .")
    assert info["terminated"] and not info["success"]
    assert info["metrics"]["unfounded_claims"] == 1.0


def test_a_wrong_write_beside_the_right_one_fails() -> None:
    env = make("default")
    c = with_goal(env, "complaint")
    order = env._scenario.world.find(c["order"])
    say(env, f"ACTION check order {c['order']} name {c['name']} code {c['code']}")
    say(env, f"ACTION complaint order {c['order']} problem {c['problem']}")
    if env._scenario.world.is_allowed("cancel", order):
        say(env, f"ACTION cancel order {c['order']}")
    else:
        say(env, f"ACTION refund order {c['order']}")
    info = say(env, "It is done .")
    assert info["terminated"] and not info["success"]


def test_promising_a_day_is_a_violation_in_the_default_tier_only() -> None:
    for tier, expected in (("easy", 0.0), ("default", 1.0)):
        env = make(tier)
        env.reset(seed=0)
        assert (
            say(env, "I promise it comes on Monday .")["metrics"]["violations"]
            == expected
        )


def test_three_idle_turns_end_the_call() -> None:
    env = make()
    env.reset(seed=1)
    info = say(env, "zzz", "zzz")
    assert not info["terminated"] and "get that" in last(env)
    info = say(env, "zzz")
    assert info["terminated"] and info["termination_reason"] == "hung_up"


def test_an_action_that_fails_is_idle_and_one_that_works_is_not() -> None:
    env = make()
    c = with_goal(env, "status")
    say(
        env, "ACTION check Kim", "ACTION dance", f"ACTION check {c['name']} {c['code']}"
    )
    assert env._customer.num_idle == 0
    assert not env._terminated


def test_the_turn_limit_terminates() -> None:
    env = make(max_turns=2)
    with_goal(env, "status")
    info = say(env, "Your name ?", "Your code ?")
    assert info["terminated"] and info["termination_reason"] == "turn_limit"
    assert "2 turns" in env.conversation[0].content


def test_a_customer_pleads_when_asked_and_yields_when_asked_again() -> None:
    env = make("default")
    for seed in range(300):
        env.reset(seed=seed)
        if env._scenario.errands[0].plea == "check":
            break
    env._channel = type(env._channel)(np.random.default_rng(0), {}, 0.0, 0.0)
    texts = []
    for _ in range(3):
        say(env, "Your name and code ?")
        texts.append(last(env))
    pleas = {t for by in DATA["phrases"]["default"]["plead.check"].values() for t in by}
    assert sum(any(plea in text for plea in pleas) for text in texts) == 1
    assert any(env._scenario.errands[0].constraints["code"] in text for text in texts)


def test_an_exception_is_asked_for_once() -> None:
    env = make("default")
    for seed in range(2000):
        env.reset(seed=seed)
        errand = env._scenario.errands[0]
        if errand.plea == "exception" and not errand.mistake:
            break
    c = errand.constraints
    say(env, f"ACTION check order {c['order']} name {c['name']} code {c['code']}")
    info = say(env, "I can not .")
    assert not info["terminated"]
    assert last(env) in DATA["phrases"]["default"]["plead.exception"]["train"]
    assert say(env, "I can not .")["success"]


def test_a_mistaken_number_is_corrected_after_it_matched_nothing() -> None:
    env = make("default")
    for seed in range(300):
        env.reset(seed=seed)
        errand = env._scenario.errands[0]
        if errand.mistake:
            break
    env._channel = type(env._channel)(np.random.default_rng(0), {}, 0.0, 0.0)
    c = errand.constraints
    say(env, "Your order ?")
    assert errand.mistake["order"] in last(env)
    say(
        env,
        f"ACTION check order {errand.mistake['order']} name {c['name']} code {c['code']}",
    )
    assert last(env) == "no match"
    say(env, "No match .")
    assert c["order"] in last(env)


# Presets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "success", "failure"),
    [
        ("suite", 1 - 4 * 0.02, -3 * 0.02),
        ("pydial", 20 - 4, -3),
        ("tcbot", 2 * 6 - 4, -6 - 3),
        ("convlab", 80 + 5 - 4, -40 - 3),
    ],
)
def test_presets(preset: str, success: float, failure: float) -> None:
    env = make(preset=preset)
    seed = next(s for s in range(99) if play(make(), expert, s)[1]["turn"] == 4)
    assert play(env, expert, seed)[0] == pytest.approx(success)
    assert play(env, lambda e: "zzz", seed)[0] == pytest.approx(failure)


def test_a_preset_pays_failure_at_the_turn_limit_too() -> None:
    env = make(preset="tcbot", max_turns=2)
    with_goal(env, "status")
    assert say(env, "Your name ?", "Your code ?")["reward"] == pytest.approx(-2 - 1)


@pytest.mark.parametrize(("name", "known"), [("tier", "easy"), ("preset", "tcbot")])
def test_unknown_names_are_refused(name: str, known: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be one of .*{known}.*, got 'x'"):
        CustomerService(**{name: "x"})
    assert set(PRESETS) == {"suite", "pydial", "tcbot", "convlab"}


# Determinism, splits, size ---------------------------------------------------------------------


def transcript(env: CustomerService, seed: int) -> str:
    play(env, expert, seed)
    return env.conversation.render()


@pytest.mark.parametrize("tier", TIERS)
def test_a_seed_is_an_episode(tier: str) -> None:
    assert transcript(make(tier), 5) == transcript(make(tier), 5)
    assert transcript(make(tier), 5) != transcript(make(tier), 6)


def test_interleaved_episodes_do_not_touch() -> None:
    alone = [transcript(make("hard"), seed) for seed in (1, 2)]
    envs = [make("hard"), make("hard")]
    for env, seed in zip(envs, (1, 2)):
        env.reset(seed=seed)
    live = list(envs)
    while live:
        for env in list(live):
            _, _, terminated, truncated, _ = env.step(env.encode(env.expert_reply()))
            if terminated or truncated:
                live.remove(env)
    assert [env.conversation.render() for env in envs] == alone


def test_noise_leaves_the_goal_intact(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = make("default")
    clean.reset(seed=4)
    noisy = make("default")
    tier = _customer_service_goal.TIERS["default"]
    monkeypatch.setattr(
        noisy,
        "_tier",
        type(tier)(
            language="default", intents=tier.intents, slot_error=0.9, intent_error=0.9
        ),
    )
    noisy.reset(seed=4)
    assert noisy._scenario.errands == clean._scenario.errands


def test_the_expert_does_not_change_the_episode() -> None:
    env = make("hard")
    env.reset(seed=3)
    assert len({env.expert_reply() for _ in range(3)}) == 1
    assert len(env.conversation) == 2


def test_the_expert_goes_on_from_anybodys_replies() -> None:
    env, rng = make(), np.random.default_rng(0)
    solved = 0
    for seed in range(40):
        env.reset(seed=seed)
        say(env, ["Hello .", "zzz", "Yes .", "Your code ?"][int(rng.integers(4))])
        while not (env._terminated or env._truncated):
            say(env, env.expert_reply())
        solved += bool(env._last_turn.success)
    assert solved >= 38


@pytest.mark.parametrize("language", ["easy", "default"])
def test_phrasings_are_held_out(language: str) -> None:
    phrases = DATA["phrases"][language]
    words = {
        w.lower() for by in phrases.values() for t in by["train"] for w in t.split()
    }
    for key, by_split in phrases.items():
        assert by_split["train"] and by_split["test"], key
        assert set(by_split["train"]).isdisjoint(by_split["test"]), key
        if language == "easy":
            unseen = {w.lower() for t in by_split["test"] for w in t.split()} - words
            assert not unseen, key


def test_the_data_says_its_version_and_licence() -> None:
    assert isinstance(DATA["version"], int) and DATA["licence"]


def test_no_phrase_of_the_lexicon_means_two_things() -> None:
    phrases = [phrase for phrases in DATA["lexicon"].values() for phrase in phrases]
    entities = [
        n.lower() for k in ("name", "item", "street") for n in DATA["entities"][k]
    ]
    assert len(set(phrases)) == len(phrases)
    assert not set(phrases) & set(entities)


@pytest.fixture(scope="module")
def dialogues() -> dict[str, list[list[tuple[str, str]]]]:
    found: dict[str, list[list[tuple[str, str]]]] = {}
    for tier in TIERS:
        for split in ("train", "test"):
            env = make(tier, split=split)
            for seed in range(60):
                play(env, expert, seed)
                dialogue = [(m.role.value, m.content) for m in env.conversation]
                found.setdefault(tier, []).append(dialogue)
    return found


def test_the_tiers_speak_little(
    dialogues: dict[str, list[list[tuple[str, str]]]],
) -> None:
    """With a tokenizer of its own: the easy tier fits 96 ids, the default tier 384."""
    for tier, most in (("easy", 96), ("default", 384), ("hard", 512)):
        texts = [text for dialogue in dialogues[tier] for _, text in dialogue]
        tokenizer = train_tokenizer(texts)
        for dialogue in dialogues[tier]:
            assert sum(len(tokenizer.encode(text)) + 2 for _, text in dialogue) < most
            replies = [text for role, text in dialogue if role == "assistant"]
            limit = 10 if tier == "easy" else 24
            assert max(len(tokenizer.encode(text)) for text in replies) < limit
    easy = {word for d in dialogues["easy"] for _, text in d for word in text.split()}
    assert len(easy) <= 80


def test_easy_values_are_single_words() -> None:
    for kind in ("name", "item"):
        assert all(value.isalpha() for value in DATA["entities"][kind])


# Robustness ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzzed() -> dict[str, CustomerService]:
    return {tier: make(tier, reply_length=400) for tier in TIERS}


SCRAPS = st.sampled_from(
    [
        "ACTION",
        "check",
        "refund",
        "Kim",
        "pen",
        "7",
        "8812",
        "done",
        "not",
        "?",
        ".",
        ",",
        "\n",
    ]
    + [
        "your name",
        "promise",
        "Monday",
        "<|end|>",
        "<|user|>",
        "\0",
        "\ud800",
        "packed",
        "bye",
    ]
)
REPLIES = st.text(max_size=40) | st.lists(SCRAPS, max_size=12).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TIERS),
    st.integers(0, 50),
    st.lists(REPLIES, min_size=1, max_size=8),
)
def test_any_replies_give_finite_rewards(
    fuzzed: dict[str, CustomerService], tier: str, seed: int, replies: list[str]
) -> None:
    env = fuzzed[tier]
    env.reset(seed=seed)
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        assert -20.0 < float(reward) <= 0.98
        assert set(info["metrics"]) == set(env.metric_names)
        assert isinstance(env.expert_reply(), str)
        if terminated or truncated:
            break
    roles = [message.role for message in env.conversation]
    assert roles.count(Role.ASSISTANT) == env.turn


@pytest.mark.parametrize(
    "reply", ["x" * 10**6, "ACTION " * 10**5, "\0" * 1000, "\ud800" * 50]
)
def test_monstrous_replies(reply: str) -> None:
    env = make()
    env.reset(seed=0)
    env.turn = 1
    turn = env._respond(reply)
    assert not turn.success and isinstance(turn.reward, dict)


def test_the_vector_entry_point_makes_this_environment() -> None:
    envs = make_vector(2, tier="easy", context_length=400)
    envs.reset(seed=0)
    assert all(isinstance(env, CustomerService) for env in envs.envs)
    envs.close()
