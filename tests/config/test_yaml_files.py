"""YAML: numbers as people write them, and one line for everything that can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.yaml_files import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse_yaml, read_yaml, to_yaml
from smallsight.errors import ConfigError

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("2E-4", 2e-4),
        ("1e5", 1e5),
        ("-1.5e+3", -1500.0),
        (".5e1", 5.0),
        ("2.e-4", 2e-4),
        ("0.0002", 2e-4),
        ("5", 5),
        ("true", True),
        ("null", None),
        ("", None),
        ("1e", "1e"),
        ("e5", "e5"),
        ("v1e5", "v1e5"),
        ("'2e-4'", "2e-4"),
        ("[1, 2e-1]", [1, 0.2]),
        ("${DATA}/train", "${DATA}/train"),
    ],
)
def test_values_are_read_as_people_mean_them(text: str, value: Any) -> None:
    found = parse_yaml(text, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a: [1, 2", "expected ',' or ']'"),
        (b"a: 1\na: 2\n", "line 2: the key 'a' is given twice"),
        (b"t:\n  a: 1\n  b: 2\n  a: 3\n", "line 4: the key 'a' is given twice"),
        (b"t: [{a: 1, a: 2}]", "line 1: the key 'a' is given twice"),
        (BOMB.encode(), "aliases (*name) are not allowed"),
        (b"a: &a {b: *a}", "aliases (*name) are not allowed"),
        (b"[" * 5000, f"nested deeper than {MAX_DEPTH} levels"),
        (b"a: !!python/object/apply:os.system [ls]", "tags (tag:yaml.org,2002:python/object/apply:os.system)"),
        (b"a: !!bool maybe", "tags (tag:yaml.org,2002:bool) are not allowed"),
        (b"a: !!int ''", "tags (tag:yaml.org,2002:int) are not allowed"),
        (b"a: !!timestamp soon", "tags (tag:yaml.org,2002:timestamp) are not allowed"),
        (b"a: !mine 1", "tags (!mine) are not allowed"),
        (b"? [1]\n: 2", "unhashable key"),
        (b"a: 2001-99-99", "month must be in 1..12"),
        (b"a: " + b"9" * 5000, "a number of 5000 characters, expected at most 100"),
        (b"a: 0x" + b"f" * 5000, "a number of 5002 characters"),
        (b"a: 1" + b":59" * 50_000, "a number of 150001 characters"),
        (b"a: 1." + b"5" * 5000, "a number of 5002 characters"),
        (b'a: "\\UFFFFFFFF"', "Python int too large"),
        (b"[" + b"1, " * MAX_NODES + b"1]", f"more than {MAX_NODES} values"),
        (b"\xff\xfe\xff", "unacceptable character"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "unacceptable character"),
        (b"a: \x00", "not allowed"),
        (b"a: 1\n\tb: 2", "cannot start any token"),
        (b"a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_what_is_not_readable_gives_one_line(tmp_path: Path, text: bytes, reason: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not readable as YAML: ")
    assert reason in message
    assert "\n" not in message


def test_nesting_up_to_the_limit_is_read() -> None:
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x")
    with pytest.raises(ConfigError, match="nested deeper"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "x")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("text", "kind"), [("- 1\n", "list"), ("training\n", "str"), ("5\n", "int"), ("2e-4", "float")]
)
def test_the_top_of_a_file_is_keys_and_values(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"run.yaml: got {kind} at the top, expected keys and values"):
        read_yaml(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"no such file\. Give the path of a YAML file\.") as caught:
            read_yaml(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=rf"{MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}\. Is it a YAML file"):
        read_yaml(path)


# Without control characters and line separators: PyYAML itself loses U+0085.
text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=6) | st.from_regex(
    r"\A[-+]?[0-9.]{1,3}[eE][-+]?[0-9]\Z"
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)


@given(plain)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert parse_yaml(to_yaml(value), "x") == value


@given(st.binary(max_size=60) | st.text("{}[]:-?!&*#|>'\"%@`, \nab1.~=<", max_size=40))
def test_any_text_is_a_value_or_a_config_error(text: bytes | str) -> None:
    try:
        parse_yaml(text, "x")
    except ConfigError as error:
        assert str(error).startswith("x: not readable as YAML: ")


@pytest.mark.parametrize("name", ["2e4", "0E0", "1e-3", "5", "true", "null", "", "~", "2001-01-01", "a: b", "*x", "&x"])
def test_text_that_looks_like_something_else_stays_text(name: str) -> None:
    assert parse_yaml(to_yaml({name: [name]}), "x") == {name: [name]}


def test_keys_keep_their_order() -> None:
    assert to_yaml({"b": 1, "a": {"d": 2, "c": 3}}) == "b: 1\na:\n  d: 2\n  c: 3\n"
