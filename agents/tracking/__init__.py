"""The record of a run: its directory, its lock, its logs."""

from agents.tracking.follower import RunFollower
from agents.tracking.line_log import LineLog, plain_json, read_lines
from agents.tracking.lock import RunError, hold_lock
from agents.tracking.machinery import check_tokenizer, machinery
from agents.tracking.run_directory import (
    LOGS,
    RunDirectory,
    check_run_name,
    differences,
    find_run,
    read_config,
    replace_json,
)

__all__ = [
    "LOGS",
    "LineLog",
    "RunDirectory",
    "RunError",
    "RunFollower",
    "check_run_name",
    "check_tokenizer",
    "differences",
    "find_run",
    "hold_lock",
    "machinery",
    "plain_json",
    "read_config",
    "read_lines",
    "replace_json",
]
