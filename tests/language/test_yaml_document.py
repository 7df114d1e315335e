import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from language_cases import GRAPH, changed, complaints, variables

from mlograph.errors import GraphError
from mlograph.language import faults, load, loads

SYNTAX = [
    ("a: b: c", "g.yaml:1:5: not YAML: mapping values are not allowed in this context",
     "a text with ': ' needs quotes; a key has a space after its colon"),
    ("a:\n\t- b", "g.yaml:2:1: not YAML: found character that cannot start any token",
     "indent with spaces, not with tabs"),
    ("a: @b", "g.yaml:1:4: not YAML: found character that cannot start any token",
     "a text that begins with @ needs quotes"),
    ("a: {b: ${c}}",
     "g.yaml:1:9: not YAML: did not find expected ',' or '}' while parsing a flow mapping",
     'inside { } a reference needs quotes: "${a.b}"'),
    ("a: 'b", "g.yaml:1:6: not YAML: found unexpected end of stream while scanning a quoted scalar",
     ""),
    ("a: [1,\n",
     "g.yaml:1:7: not YAML: did not find expected node content while parsing a flow node",
     ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), SYNTAX)
def test_broken_yaml_is_shown_where_it_breaks(text: str, message: str, hint: str):
    assert complaints(text) == [f"{message} ({hint})" if hint else message]


STRUCTURE = [
    ("name: tiny", "name: tiny\nname: big",
     ["g.yaml:3:1: name: duplicate key (it stands first in line 2)"]),
    ("rate: 0.1", "rate: !!float 1",
     ["g.yaml:3:14: vars.rate: tags such as 'tag:yaml.org,2002:float' are not used in graph files"
      " (remove it)"]),
    ("rate: 0.1", "rate: ! 1",
     ["g.yaml:3:14: vars.rate: tags such as '!' are not used in graph files (remove it)"]),
    ("rate: 0.1", "1: 0.1", ['g.yaml:3:8: vars.1: the key 1 is not a text (quote it: "1")']),
    ("rate: 0.1", "~: 0.1", ['g.yaml:3:8: vars.~: the key ~ is not a text (quote it: "~")']),
    ("rate: 0.1", "[a]: 0.1",
     ['g.yaml:3:8: vars: a list cannot be a key (quote references: "${a.b}")']),
    ("rate: 0.1", "<<: {a: 1}",
     ["g.yaml:3:8: vars.<<: merge keys '<<' are not supported (use include, or an alias)"]),
    ("rate: 0.1", "rate: *nothing",
     ["g.yaml:3:14: vars.rate: there is no anchor '&nothing' above"]),
    ("rate: 0.1", "rate: &x [*x]", ["g.yaml:3:18: vars.rate[0]: the anchor '&x' contains itself"]),
    ("rate: 0.1", "rate: &abc 1, b: *abd",
     ["g.yaml:3:25: vars.b: there is no anchor '&abd' above (did you mean 'abc'?)"]),
    ("edges:", "---\nedges:",
     ["g.yaml:15:1: a second document begins here, but a file holds one (remove the '---')"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), STRUCTURE)
def test_what_graph_files_do_not_use_is_refused(old: str, new: str, expected: list[str]):
    assert complaints(changed(old, new)) == expected


def test_a_quoted_merge_key_is_a_key():
    assert variables("'<<': 1") == {"<<": 1}


def test_aliases_stand_for_what_they_name():
    assert variables("a: &x [1, {b: on}]\nc: *x")["c"] == [1, {"b": "on"}]


def test_an_anchor_may_be_given_again():
    assert variables("a: &x 1\nb: &x 2\nc: *x")["c"] == 2


def test_a_fault_in_an_alias_is_shown_where_the_alias_stands():
    text = changed("unroll_steps: 5", "unroll_steps: *word").replace("tiny", "&word tiny")
    assert complaints(text) == [
        "g.yaml:13:19: problems.lower.unroll_steps: expected an integer ≥ 1, got 'tiny'"
    ]


def test_columns_count_characters_not_bytes():
    text = changed("rate: 0.1, list: [1, 2]", "é: 日本, x: !t 1")
    assert complaints(text)[0].startswith("g.yaml:3:18: vars.x: tags")


def test_a_byte_order_mark_is_no_character():
    with pytest.raises(GraphError) as caught:
        loads("\ufeffa: b: c")
    place = caught.value.faults[0].location
    assert place is not None
    assert (place.column, place.text) == (5, "a: b: c")


def test_carets_stand_under_what_is_wrong():
    with pytest.raises(GraphError) as caught:
        loads(changed("unroll_steps: 5", "unroll_steps: five"), "g.yaml")
    assert str(caught.value) == (
        "g.yaml:13:19: problems.lower.unroll_steps: expected an integer ≥ 1, got 'five'\n"
        "        unroll_steps: five\n"
        "                      ^"
    )


def test_a_caret_is_aligned_behind_tabs_and_in_long_lines():
    with pytest.raises(GraphError) as caught:
        loads(changed("rate: 0.1", "a:\t!t 1"))
    assert str(caught.value).endswith("\n    vars: {a:\t!t 1, list: [1, 2]}\n             \t^")
    with pytest.raises(GraphError) as caught:
        loads(changed("rate: 0.1", f"a: {'x' * 500}, b: !t 1, c: {'y' * 500}"))
    _, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 130
    assert shown[caret.index("^")] == "!"


DEEP = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
BOMBS = [
    ("laughs", f"a0: &a0 lol\n{DEEP}", "more than 100,000 values, aliases expanded"),
    ("texts", f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 9999)}]",
     "more than 1 MiB of text, aliases expanded"),
    ("nesting", "[" * 500_000, "nested more than 64 levels deep"),
    ("mappings", "{a: " * 200_000, "nested more than 64 levels deep"),
    ("dashes", "- " * 300_000, "nested more than 64 levels deep"),
    ("nested aliases", "a0: &a0 1\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 99)),
     "nested more than 64 levels deep"),
    ("length", "- a\n" * 200_000, "more than 100,000 values, aliases expanded"),
    ("size", "a" * 2_000_000, "'g.yaml': larger than 1 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [b[1:] for b in BOMBS], ids=[b[0] for b in BOMBS])
def test_bombs_are_refused_before_they_go_off(text: str, message: str):
    start = time.process_time()
    (complaint,) = complaints(text)
    assert message in complaint
    assert time.process_time() - start < 3


def test_many_faults_are_counted_rather_than_shown():
    keys = "".join(f"key{i}: 1\n" for i in range(20_000))
    start = time.process_time()
    found = complaints(GRAPH + keys)
    assert len(found) == 101
    assert found[-1] == "and 19900 more faults"
    assert time.process_time() - start < 5


def test_near_names_are_sought_only_for_faults_that_are_shown(monkeypatch: pytest.MonkeyPatch):
    sought: list[str] = []

    def search(name: str, known: Iterable[str]) -> str:
        sought.append(name)
        return ""

    monkeypatch.setattr(faults, "did_you_mean", search)
    complaints(GRAPH + "".join(f"key{i}: 1\n" for i in range(1000)))
    assert len(sought) <= faults.MAX_FAULTS


def test_control_characters_are_refused_and_not_shown():
    with pytest.raises(GraphError) as caught:
        loads("a: b\nc: \x1b[31m", "g.yaml")
    assert str(caught.value) == (
        "g.yaml:2:4: character U+001B cannot stand in a text (is this a text file?)"
    )
    assert complaints("a\x00") == [
        "g.yaml:1:2: character U+0000 cannot stand in a text (is this a text file?)"
    ]
    assert complaints("a: \ud800") == [
        "g.yaml:1:4: character U+D800 cannot stand in a text (is this a text file?)"
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_said_to_be_empty(text: str):
    (complaint,) = complaints(text)
    assert "the file is empty" in complaint or "got a single value" in complaint


def test_a_file_that_is_no_mapping():
    assert complaints("- a") == ["g.yaml:1:1: expected a mapping with 'mlograph: 1', got a list"]


def refusal(path: Path) -> str:
    with pytest.raises(GraphError) as caught:
        load(path)
    return str(caught.value).replace(str(path.parent), "DIR")


def test_files_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "graph.yaml").write_text(GRAPH)
    assert refusal(tmp_path / "grahp.yaml") == (
        "'DIR/grahp.yaml': there is no such file (did you mean 'graph.yaml'?)"
    )
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "'DIR/folder': a directory, not a file"
    assert "there is no such file" in refusal(tmp_path / "nowhere" / "g.yaml")
    assert "cannot be read: embedded null byte" in refusal(tmp_path / "a\0b")
    (tmp_path / "wide").write_text(GRAPH, encoding="utf-16")
    assert refusal(tmp_path / "wide") == "'DIR/wide': not UTF-8 but UTF-16 (save it as UTF-8)"
    (tmp_path / "latin").write_bytes(b"name: a\n# caf\xe9 \n")
    assert refusal(tmp_path / "latin") == (
        "DIR/latin:2:6: not UTF-8: byte 0xE9 begins no character (save it as UTF-8)"
    )
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    assert refusal(tmp_path / "large") == "'DIR/large': larger than 1 MiB"
