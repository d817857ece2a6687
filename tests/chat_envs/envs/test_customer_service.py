"""`CustomerService`: rules of success and reward, by dialogues, and the presets."""

from __future__ import annotations

import pytest

from chat_envs.envs.customer_service import PRESETS, CustomerService, make_vector
from chat_envs.message import Role
from chat_envs.simulators.channel import ErrorChannel
from tests.chat_envs.envs.service import DATA, expert, last, make, play, say, with_goal

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
    env._channel = ErrorChannel({}, 0.0, 0.0)
    texts = []
    for _ in range(2):
        say(env, "Your code ?")
        texts.append(last(env))
    pleas = {t for by in DATA["phrases"]["default"]["plead.check"].values() for t in by}
    code = env._scenario.errands[0].constraints["code"]
    assert any(plea in texts[0] for plea in pleas) and code not in texts[0]
    assert not any(plea in texts[1] for plea in pleas) and code in texts[1]


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
    env._channel = ErrorChannel({}, 0.0, 0.0)
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


def test_the_vector_entry_point_makes_this_environment() -> None:
    envs = make_vector(2, tier="easy", context_length=400)
    envs.reset(seed=0)
    assert all(isinstance(env, CustomerService) for env in envs.envs)
    envs.close()
