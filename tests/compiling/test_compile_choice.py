"""When compiling pays, and what is told of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compiled_graphs import alone, assert_same, penalties, stepped
from torch._inductor.runtime.cache_dir_utils import cache_dir

from mlograph.compiling import Choice, shortcut
from mlograph.compiling.cache import use_cache
from mlograph.compiling.refusal import NotCompiledError, reason_of
from mlograph.executor import Executor


def timed(seconds: float, calls: int = 9, each: int = 1) -> Choice:
    """A choice after some evaluations, `each` of them an update; the first is slow."""
    choice = Choice()
    for call in range(calls):
        choice.took(seconds + 5.0 * (call == 0), call // each)
    return choice


def test_the_first_evaluation_does_not_count():
    assert timed(0.1).best == 0.1


def test_what_is_to_come_follows_from_the_updates_that_are_left():
    assert timed(0.1, calls=9).remaining(108) == 100
    assert timed(0.1, calls=17, each=4).remaining(104) == 400
    assert timed(0.1, calls=9).remaining(5) == 0


def test_nothing_is_known_before_the_problem_has_moved_on():
    assert timed(0.1, calls=8).known
    assert not timed(0.1, calls=7).known
    assert not timed(0.1, calls=16, each=16).known


def test_compiling_must_be_paid_by_a_tenth_of_what_is_to_come():
    choice = timed(0.1)  # 100 more of 0.1 s: a tenth is 1 s
    assert choice.worth(108, 1, 0.99) and not choice.worth(108, 1, 1.01)
    assert choice.worth(108, 3, 2.99) and not choice.worth(108, 3, 3.01)


def test_compiled_code_is_kept_in_the_users_cache_never_in_a_run():
    env = {"XDG_CACHE_HOME": "/somewhere"}
    assert use_cache(env) == Path("/somewhere/mlograph/compiled")
    assert env["TORCHINDUCTOR_CACHE_DIR"] == "/somewhere/mlograph/compiled"
    home: dict[str, str] = {}
    assert use_cache(home) == Path.home() / ".cache" / "mlograph" / "compiled"
    assert use_cache({"TORCHINDUCTOR_CACHE_DIR": "/mine"}) == Path("/mine")


def test_the_folder_that_torch_sets_by_itself_is_not_the_users_wish(
    monkeypatch: pytest.MonkeyPatch,
):
    """It does when the first optimiser is made, which is before anything is compiled."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    set_by_torch = cache_dir()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == set_by_torch
    assert use_cache() == Path("/somewhere/mlograph/compiled")


def test_a_short_run_compiles_nothing_and_says_so():
    def compiler(graph: object, example: object) -> object:
        raise AssertionError("nothing is worth compiling")

    plain, _ = stepped(penalties(), periods=10)
    program, compiling = stepped(penalties(), "auto", compiler, periods=10)
    assert_same(program, plain, tolerance=0.0)
    told = compiling.take_remarks()
    assert len(told) == 3 and all("is not compiled: " in text for text in told)
    assert any(text.startswith("the gradient of 'lower' with its products") for text in told)
    assert not compiling.take_remarks()


def test_what_turns_out_slower_is_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shortcut, "EXPECTED", 0.0)
    program, compiling = stepped(alone(), "auto", periods=10)
    plain, _ = stepped(alone(), periods=10)
    assert_same(program, plain)
    (told,) = compiling.take_remarks()
    assert " ms instead of " in told
    (choice,) = compiling.shortcuts["lower"].choices.values()
    assert (choice.way == "plain") == ("not compiled: it would take" in told)


class InvalidCxxCompiler(RuntimeError):  # noqa: N818 (as torch calls it)
    """There is none."""


def lost(graph: object, example: object) -> object:
    try:
        raise InvalidCxxCompiler("No working C++ compiler found in [...]\nand so on")
    except InvalidCxxCompiler as error:
        raise RuntimeError("backend failed") from error


NO_COMPILER = "there is no C++ compiler (g++ or clang++; the environment's CXX names another)"


def test_without_a_compiler_auto_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shortcut, "EXPECTED", 0.0)
    plain, _ = stepped(alone(), periods=10)
    program, compiling = stepped(alone(), "auto", lost, periods=10)
    assert_same(program, plain, tolerance=0.0)
    assert compiling.take_remarks() == [f"the gradient of 'lower' is not compiled: {NO_COMPILER}"]


def test_reasons_are_one_sentence():
    assert reason_of(ValueError("one\ntwo")) == "ValueError: one"
    assert reason_of(ValueError()) == "ValueError"
    wrapped = RuntimeError("long story")
    wrapped.__cause__ = NotCompiledError("the reason")
    assert reason_of(wrapped) == "the reason"


def test_who_follows_measures_nothing_and_does_what_it_is_told():
    program, compiling = stepped(alone(), "auto", periods=0)
    executor, (shortcut_,) = Executor(program), compiling.shortcuts.values()

    def steps(count: int) -> None:
        for _ in range(count):
            for instruction in program.plan.executed:
                executor.execute(instruction)

    compiling.follow(["lower"], follows=True)
    steps(12)
    ((key, choice),) = shortcut_.choices.items()
    assert choice.seconds == [] and compiling.chosen() == {"lower": {}}
    compiling.adopt({"lower": {key: "compiled", "another": "plain"}})
    steps(1)
    assert compiling.chosen() == {"lower": {key: "compiled", "another": "plain"}}
    assert "is compiled" in compiling.take_remarks()[0]
    compiling.adopt({"lower": {key: "plain"}})
    assert compiling.chosen()["lower"][key] == "compiled", "what is known here is known better"
    plain, _ = stepped(alone(), periods=13)
    assert_same(program, plain)


def test_what_was_chosen_is_remembered():
    _, compiling = stepped(alone(), "on", periods=1)
    saved = compiling.state_dict()
    _, fresh = stepped(alone(), "auto", periods=0)
    fresh.load_state_dict(saved)
    (choice,) = fresh.shortcuts["lower"].choices.values()
    assert choice.way == "compiled"
    assert fresh.state_dict() == saved
