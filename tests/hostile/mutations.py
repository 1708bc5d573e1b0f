"""Files made from valid ones: values replaced by absurd ones, text spliced, bytes flipped, archives lied in."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import torch
import yaml

from hostile.readers import Form

Mutation = Callable[[Random], bytes]
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, -(10**400), 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"))
WORDS = (
    *("", " ", "\0", "\ud800", "\udcff", "\ufeff", "\u202e", "é" * 300, "a" * 5000, "nan", "1e999", "-0", "0x10"),
    *("../../etc/passwd", "/dev/zero", "C:\\x.png", "..\\x.png", "%2e%2e%2fx.png", "~root/x", "$HOME", "${X}", "."),
    *("\x1b[31mred\x07", "[bold]x[/nothing]", "<script>alert(1)</script>", "a\nb", "{{ 7 * 7 }}", "%s%n", "a,b;c"),
)
OTHERS = (None, True, False, [], {}, [[]], {"": {}}, DEEP, [0, "", None], [1e308] * 4)
TOKENS = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"\t", b" ", b":", b"- ", b"{", b"}", b"[", b"]"),
    *(b"&a ", b"*a", b"!!int ", b"<<: ", b"? ", b"| ", b"> ", b"%YAML 9.9\n", b"---\n", b"'", b'"', b"\\", b"#"),
    *(b"1:2:3", b"0x" + b"f" * 99, b"9" * 5000, b"1e999", b"nan", b".inf", b"-1", b"2001-99-99", b"null", b"=", b"."),
    *(b"<a>", b"</a>", b"<!DOCTYPE a [", b"<!ENTITY b 'c'>", b"&b;", b"<![CDATA[", b"\xed\xa0\x80", b'"\\ud800"'),
    *(b'"\\UFFFFFFFF"', b"[" * 300, b"{" * 300, b"a: " * 300, b"0 " * 300, b"0 0.5 0.5 0.1 0.1\n", b"1" * 20),
)


def value(random: Random) -> Any:
    """Something that is seldom meant."""
    kinds = (NUMBERS, WORDS, OTHERS, (random.randint(-3, 50), random.uniform(-2, 50)))
    return copy.deepcopy(random.choice(random.choice(kinds)))


def changed_tree(random: Random, tree: Any) -> Any:
    """Plain values in which a few were replaced, taken out, doubled or renamed."""
    if random.random() < 0.03:
        return value(random)
    tree = copy.deepcopy(tree)
    for _ in range(random.randint(1, 3)):
        node = tree
        while isinstance(node, (dict, list)) and node:
            key = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], (dict, list)) or not node[key] or random.random() < 0.25:
                _change(random, node, key)
                break
            node = node[key]
    return tree


def _change(random: Random, node: Any, key: Any) -> None:
    action = random.choice(("replace", "replace", "replace", "drop", "double", "rename"))
    if action == "replace":
        node[key] = value(random)
    elif action == "drop":
        del node[key]
    elif isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
    else:
        node[random.choice(WORDS)] = node[key] if action == "double" else node.pop(key)


def spliced(random: Random, data: bytes) -> bytes:
    """Bytes that were cut, doubled, flipped, or have something else in the middle."""
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        action = random.choice(("insert", "insert", "write", "write", "flip", "flip", "cut", "drop", "double"))
        token = random.choice(TOKENS) if random.random() < 0.7 else random.randbytes(random.randint(1, 8))
        if action == "insert":
            data = data[:at] + token + data[at:]
        elif action == "write":
            data = data[:at] + token + data[at + len(token) :]
        elif action == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << random.randint(0, 7))]) + data[at + 1 :]
        elif action == "cut":
            data = data[:at]
        else:
            end = min(len(data), at + random.randint(1, 200))
            data = data[:at] + (data[at:end] * 2 if action == "double" else b"") + data[end:]
    return data


def rewritten(random: Random, archive: bytes) -> bytes:
    """An archive that is sound on the outside, with one member changed, taken out or compressed."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    described = [name for name in members if name.endswith((".pkl", ".npy"))]
    chosen = random.choice(described * 4 + list(members))
    action = random.choice(("splice", "splice", "splice", "drop", "empty", "compress"))
    if action == "splice":
        members[chosen] = spliced(random, members[chosen])
    elif action == "drop":
        del members[chosen]
    elif action == "empty":
        members[chosen] = b""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if action == "compress" else zipfile.ZIP_STORED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return target.getvalue()


def _as_yaml(tree: Any) -> bytes:
    try:
        text = str(yaml.safe_dump(tree, allow_unicode=True))
    except (yaml.YAMLError, ValueError, RecursionError):
        text = json.dumps(tree)
    return text.encode(errors="surrogatepass")


def _as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _either(one: Mutation, other: Mutation) -> Mutation:
    return lambda random: (one if random.random() < 0.5 else other)(random)


def _structured(load: Callable[[bytes], Any], dump: Callable[[Any], bytes]) -> Callable[[bytes], Mutation]:
    def of(data: bytes) -> Mutation:
        tree = load(data)
        return _either(lambda random: dump(changed_tree(random, tree)), lambda random: spliced(random, data))

    return of


def _events(data: bytes) -> Mutation:
    """The contents of events changed; their order too, but not the table that they are kept in."""
    events = json.loads(data)

    def change(random: Random) -> bytes:
        changed = copy.deepcopy(events)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(changed))
            kind, content = changed[at]
            other = changed_tree(random, content)
            changed[at] = [kind, other if isinstance(other, dict) or random.random() < 0.1 else content]
        if random.random() < 0.2:
            random.shuffle(changed)
        return _as_json(changed)

    return change


def _checkpoint(data: bytes) -> Mutation:
    content = torch.load(io.BytesIO(data), weights_only=False)
    inside = _either(lambda random: _saved(_twisted(random, content)), lambda random: rewritten(random, data))
    return _either(inside, lambda random: spliced(random, data))


def _twisted(random: Random, content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's content with values changed, and weights of other shapes."""
    changed = changed_tree(random, {key: value for key, value in content.items() if key != "args"})
    states = [state for state in changed.values() if isinstance(state, dict)] if isinstance(changed, dict) else []
    state = random.choice(states or [{}])
    for name in [name for name, value in state.items() if isinstance(value, torch.Tensor) and random.random() < 0.1]:
        state[name] = random.choice(
            (torch.zeros(()), torch.zeros(1).expand(10**5, 10**6), torch.zeros(0), torch.zeros(1, dtype=torch.int8))
        )
    return changed


def _saved(content: Any) -> bytes:
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


FORMS: dict[Form, Callable[[bytes], Mutation]] = {
    "json": _structured(json.loads, _as_json),
    "events": _events,
    "checkpoint": _checkpoint,
    "yaml": _structured(yaml.safe_load, _as_yaml),
    "text": lambda data: lambda random: spliced(random, data),
    "archive": lambda data: _either(lambda random: rewritten(random, data), lambda random: spliced(random, data)),
    "bytes": lambda data: lambda random: spliced(random, data),
}
"""How valid bytes become hostile ones."""
