"""The replies that a reward is tried on."""

from __future__ import annotations

from chat_envs.message import Role, assistant, system, user
from chat_envs.replier import HOSTILE_REPLIERS
from chat_envs.testing.hostile_reply import HOSTILE_REPLIES
from chat_envs.testing.recorded_reply import hostile_requests, record_requests
from chat_envs.tokenizer import load_tokenizer


def test_a_recording_is_the_same_each_time_and_has_real_turns() -> None:
    once = record_requests("expert")
    record_requests.cache_clear()
    again = record_requests("expert")
    assert [r.messages for r in once] == [r.messages for r in again]
    assert max(r.turn for r in once) >= 3 and any(r.terminated for r in once)
    assert sum(r.task or 0.0 for r in once) > 10
    openings = {r.prompt[0].content[:8] for r in once}
    assert len(openings) >= 4, "several environments"


def test_chance_says_other_things_than_the_expert() -> None:
    expert = {r.reply for r in record_requests("expert")}
    assert expert.isdisjoint(r.reply for r in record_requests("random"))


def test_a_hostile_reply_is_put_in_the_place_of_the_recorded_one() -> None:
    recorded = record_requests("expert")
    requests = hostile_requests(recorded, 2)
    assert [name for name, _ in requests] == [
        n for n in HOSTILE_REPLIES for _ in range(2)
    ]
    for name, request in requests:
        assert request.reply == HOSTILE_REPLIES[name](request.prompt)
        assert request.messages == (*request.prompt, assistant(request.reply))
        assert request.task == 0.0 and not request.terminated
        assert set(request.task_components.values()) <= {0.0}
        assert not request.info["success"]
    prompts = [request.prompt for _, request in requests[:2]]
    assert prompts == [recorded[0].prompt, recorded[-1].prompt]
    name, request = requests[-1]
    assert tuple(request.reply_ids) == load_tokenizer().encode(request.reply)


def test_there_are_no_more_prompts_than_recorded_replies() -> None:
    one = record_requests("expert")[:1]
    assert len(hostile_requests(one, 5)) == len(HOSTILE_REPLIES)


def test_echoes_are_made_from_the_prompt() -> None:
    prompt = (system("Be kind."), user("Hi"), assistant("Hello"), user("Bye"))
    assert HOSTILE_REPLIES["echo_user"](prompt) == "Bye"
    assert HOSTILE_REPLIES["copy_system"](prompt) == "Be kind."
    assert HOSTILE_REPLIES["copy_everything"](prompt).count("\n") == 3
    assert HOSTILE_REPLIES["copy_system"]((user("Hi"),)) == ""


def test_what_environments_know_as_hostile_is_tried_too() -> None:
    prompt = (system("Be kind."), user("Hi"))
    texts = {write(prompt) for write in HOSTILE_REPLIES.values()}
    constants = ["empty", "one_token", "score_claim", "fake_user", "special_tokens"]
    constants += ["end_at_once", "always_refuse"]
    unused: object = None
    for name in constants:
        assert HOSTILE_REPLIERS[name](unused) in texts  # type: ignore[arg-type]
    assert Role.USER in {message.role for message in prompt}
