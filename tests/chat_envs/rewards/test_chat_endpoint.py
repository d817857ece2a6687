"""What can go wrong with a server, and that a key stays where it belongs."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from chat_envs.rewards.chat_endpoint import ChatEndpoint
from tests.chat_envs.rewards.judge_server import JudgeServer

VARIABLE = "CHAT_ENVS_TEST_JUDGE_KEY"
SECRET = "k-123-secret"


def test_the_text_of_the_answer_comes_back() -> None:
    with JudgeServer(lambda body: f"{body['model']}: 7\u00e9") as server:
        endpoint = ChatEndpoint(f"{server.url}/")
        assert endpoint.ask({"model": "m"}) == "m: 7\u00e9"
        assert server.paths == ["/v1/chat/completions"]
        assert server.keys == [None]


@pytest.mark.parametrize(
    ("behaviour", "status", "error", "message"),
    [
        ("status", 500, RuntimeError, "answered 500: 'the machine is on fire'"),
        ("status", 429, RuntimeError, "answered 429"),
        ("garbage", 200, ValueError, r"no choices\[0\].message.content: .*<html>"),
        ("wrong_shape", 200, ValueError, r"no choices\[0\]"),
        ("no_text", 200, ValueError, "content is no text"),
        ("huge", 200, ValueError, "more than 1000000 bytes"),
        ("hang_up", 200, OSError, "Remote"),
        ("redirect", 200, RuntimeError, "answered 307"),
    ],
)
def test_a_server_that_fails_is_told_of(
    behaviour: str, status: int, error: type[Exception], message: str
) -> None:
    with JudgeServer(behaviour=behaviour, status=status) as server:
        with pytest.raises(error, match=message):
            ChatEndpoint(server.url).ask({"model": "m"})
        assert len(server.questions) == 1


@pytest.mark.parametrize("behaviour", ["never", "slowly"])
def test_a_server_that_takes_too_long_is_left(behaviour: str) -> None:
    with JudgeServer(behaviour=behaviour) as server:
        with pytest.raises(TimeoutError, match="did not answer within 0.3 s"):
            ChatEndpoint(server.url, timeout_s=0.3).ask({"model": "m"})


@pytest.mark.parametrize("behaviour", ["slowly", "huge"])
def test_the_connection_is_cut_when_there_was_enough(behaviour: str) -> None:
    with JudgeServer(behaviour=behaviour) as server:
        with pytest.raises((TimeoutError, ValueError)):
            ChatEndpoint(server.url, timeout_s=0.3).ask({"model": "m"})
        assert server.was_cut.wait(30)


def test_a_server_that_is_not_there_is_an_error_of_the_system() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(OSError):
            ChatEndpoint(url, timeout_s=5).ask({"model": "m"})


def test_the_key_is_read_from_its_variable_at_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with JudgeServer() as server:
        endpoint = ChatEndpoint(server.url, api_key_env=VARIABLE)
        with pytest.raises(ValueError, match=f"{VARIABLE} is not set"):
            endpoint.ask({"model": "m"})
        assert server.questions == []
        monkeypatch.setenv(VARIABLE, f" {SECRET}\n")
        endpoint.ask({"model": "m"})
        assert server.keys == [f"Bearer {SECRET}"]
        assert SECRET not in repr(vars(endpoint))


def test_a_key_that_the_server_repeats_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    with JudgeServer(behaviour="key", status=401) as server:
        with pytest.raises(RuntimeError, match=r"no such key: Bearer \*\*\*") as caught:
            ChatEndpoint(server.url, api_key_env=VARIABLE).ask({"model": "m"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"base_url": "ftp://host/v1"}, "must begin with http"),
        ({"base_url": "localhost:8000"}, "must begin with http"),
        ({"base_url": "https://"}, "name a host"),
        ({"base_url": "https://me:hush@host/v1"}, "must not hold a user"),
        ({"api_key_env": SECRET}, "never the key itself"),
        ({"base_url": "http://host/v1", "api_key_env": VARIABLE}, "use https"),
        ({"timeout_s": 0}, "above 0"),
        ({"timeout_s": float("inf")}, "finite"),
    ],
)
def test_a_wrong_setting_is_refused_and_no_key_is_shown(
    kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ChatEndpoint(**({"base_url": "https://host/v1"} | kwargs))
    assert SECRET not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_key_may_go_to_this_machine_unencrypted() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        ChatEndpoint(f"http://{host}:8000/v1", api_key_env=VARIABLE)
