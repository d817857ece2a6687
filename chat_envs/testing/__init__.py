"""The contract of a chat environment as tests, for the suite and for every author.

`check_reward` tries a reward function likewise; it finds no broken clause, but tells what the
reward does.

>>> from chat_envs.testing import check_chat_env
>>> report = check_chat_env("chat_envs/Echo-easy-v0", num_episodes=8)
>>> all(result.is_passed for result in report)
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from chat_envs.testing.episode import (
    check_determinism,
    check_first_step,
    check_hostile_input,
    check_interleaving,
    check_state,
    check_turn_limit,
)
from chat_envs.testing.interface import (
    check_gymnasium,
    check_info,
    check_observations,
    check_rendering,
    check_spaces,
    check_spec,
)
from chat_envs.testing.return_bound import (
    check_blind,
    check_expert,
    check_hostile_returns,
)
from chat_envs.testing.reward import check_reward
from chat_envs.testing.reward_report import RewardReport
from chat_envs.testing.subject import Subject, make_subject
from chat_envs.testing.token_context import (
    check_append_only,
    check_roles,
    check_tokens_kept,
)
from chat_envs.testing.vector_agreement import check_async_vector, check_vector

__all__ = [
    "CLAUSES",
    "CheckResult",
    "ContractError",
    "RewardReport",
    "check_chat_env",
    "check_reward",
]

_CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_spaces,
    check_gymnasium,
    check_info,
    check_observations,
    check_rendering,
    check_spec,
    check_append_only,
    check_tokens_kept,
    check_roles,
    check_determinism,
    check_interleaving,
    check_state,
    check_first_step,
    check_turn_limit,
    check_hostile_input,
    check_vector,
    check_expert,
    check_blind,
    check_hostile_returns,
)


def _name(check: Callable[[Subject], None]) -> str:
    return check.__name__.removeprefix("check_")


CLAUSES: dict[str, str] = {
    _name(check): (check.__doc__ or "").partition("\n")[0]
    for check in (*_CHECKS, check_async_vector)
}
"""Every clause of the contract: its name and what it says."""


class ContractError(AssertionError):
    """An environment breaks its contract. The message lists every broken clause."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one clause came out.

    Attributes:
        clause: A key of `CLAUSES`.
        is_passed: Whether the clause holds.
        message: What is wrong, what was expected and what to do; "" if it holds.
    """

    clause: str
    is_passed: bool
    message: str


def check_chat_env(
    target: Any,
    *,
    num_episodes: int = 40,
    with_async: bool = False,
    raise_on_failure: bool = True,
) -> list[CheckResult]:
    """Check every clause of the contract of a chat environment.

    Args:
        target: A registered id, a `ChatEnv` class, a function that makes one (it must take
            keywords such as `split` and `render_mode`), or an environment from
            `gymnasium.make`.
        num_episodes: Episodes of each statistical check, at least 2.
        with_async: Also compare with `AsyncVectorEnv`, which starts processes.
        raise_on_failure: Raise after all clauses were tried; else only report.

    Returns:
        One result a clause, in the order of `CLAUSES`.

    Raises:
        ContractError: If a clause is broken and `raise_on_failure`.
    """
    subject = make_subject(target, num_episodes)
    checks = [*_CHECKS, *([check_async_vector] if with_async else [])]
    results = [_run(check, subject) for check in checks]
    broken = [r for r in results if not r.is_passed]
    if broken and raise_on_failure:
        lines = "\n".join(f"  {r.clause}: {r.message}" for r in broken)
        raise ContractError(
            f"{subject.name} breaks {len(broken)} of {len(results)} clauses of the contract:\n"
            f"{lines}"
        )
    return results


def _run(check: Callable[[Subject], None], subject: Subject) -> CheckResult:
    """Return the result of one check; a crash of the environment is a broken clause too."""
    try:
        check(subject)
    except AssertionError as error:
        return CheckResult(_name(check), False, str(error))
    except Exception as error:  # reported in the result's message
        return CheckResult(
            _name(check), False, f"It raised {type(error).__name__}: {error}"
        )
    return CheckResult(_name(check), True, "")
