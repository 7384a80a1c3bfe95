"""Conditions and templates: what they say, what they refuse, what they may cost."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.workflows.expressions import check, evaluate, holds, nodes_named
from aegis.workflows.templates import check_templates, expressions_in, resolve

SCOPE: dict[str, Any] = {
    "input": {"count": 4, "name": "Ada", "half": 0.5, "none": None, "when": "2026-01-01T00:00:00Z"},
    "nodes": {
        "fetch": {
            "status": 200,
            "body": {"items": [{"id": 1, "on": True}, {"id": 2, "on": False}]},
        },
        "two-words": {"text": "x"},
    },
    "item": "apple",
    "index": 3,
    "execution": {"id": "e1"},
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.count > 3", True),
        ("input.count + 1", 5),
        ("input.half * 2.0", 1.0),
        ("input.none == null", True),
        ("has(input.gone)", False),
        ("has(input.gone) ? input.gone : 'else'", "else"),
        ("nodes.fetch.status == 200 && item == 'apple'", True),
        ("nodes.fetch.body.items.filter(i, i.on).map(i, i.id)", [1]),
        ("nodes.fetch.body.items.exists(i, i.id == 2)", True),
        ("nodes['two-words'].text + nodes[\"two-words\"].text", "xx"),
        ("size(nodes.fetch.body.items)", 2),
        ("{'a': input.count, 'b': [item]}", {"a": 4, "b": ["apple"]}),
        ("timestamp(input.when)", "2026-01-01T00:00:00+00:00"),
        ("duration('90s')", 90.0),
        ("now > timestamp('2020-01-01T00:00:00Z')", True),
        ("input.name.matches('^[A-Z][a-z]{2}$')", True),
        ("nodes", SCOPE["nodes"]),
        ("[nodes.fetch.status, size(nodes)]", [200, 2]),
        ("{1: 'a'}", {"1": "a"}),
        ("'// no comment'", "// no comment"),
        (r"r'\d+' == '\\d+'", True),
    ],
)
def test_expressions_say_what_cel_says(source: str, value: Any) -> None:
    assert check(source) is None
    assert evaluate(source, SCOPE) == value


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "empty"),
        ("1 +", "does not parse"),
        ("input.gone", "gone"),
        ("secret", "secret"),
        ("__import__('os').system('id')", "Undefined"),
        ("open('/etc/passwd')", "Undefined"),
        ("input.count + 1.0", "types"),
        ("nodes.fetch.body.items[7]", "end of a list"),
        ("1 / 0", "zero"),
        ("0.0 / 0.0", "nan"),
        ("b'abc'", "bytes"),
        ("9223372036854775807 + 1", "verflow"),
        ("input.name.matches('(')", "regex"),
        ("input.name.matches(item)", "written out"),
        ("input.name.matches('(a{1,100}){1,100}')", "repetitions"),
        ("true // a comment", "comment"),
        ('"""a"""', "three quotes"),
        ("'open", "end"),
        ("a" * 2_001, "2,000"),
        ("(" * 25 + "1" + ")" * 25, "brackets"),
        ("!" * 9 + "true", "signs"),
        ("1" + "+1" * 201, "operators"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(source: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=r"[Ee]xpression") as caught:
        evaluate(source, SCOPE)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "workflow_expression"


def test_names_that_do_not_exist_are_found_without_running() -> None:
    assert "'secret'" in str(check("secret == 1"))
    assert check("input.items.map(x, x.y)") is None
    assert "'y'" in str(check("input.items.map(x, y)"))


def test_a_condition_has_to_be_true_or_false() -> None:
    assert holds("input.count == 4", SCOPE)
    assert not holds("input.count == 5", SCOPE)
    for source in ("input.count", "null", "input.name", "[true]"):
        with pytest.raises(InvalidInput, match="true or false"):
            holds(source, SCOPE)


LONG = {"input": {"l": list(range(20_000)), "s": "x" * 1_000_000, "o": [{"a": 1}] * 3_000}}


@pytest.mark.parametrize(
    "source",
    [
        "input.l.map(x, x * 2)",
        "input.l.filter(x, x in input.l)",
        "input.l.all(x, input.l.all(y, x >= y))",
        "input.o.filter(x, x.a == 1)",
        "[input.s].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)",
        "[input.l].map(a, [a, a]).map(a, [a, a]).map(a, [a, a]).map(a, [a, a])[0].map(a, a)",
        "[0].map(x, input.l + input.l)[0].map(x, x)",
        "input.l.map(a, input.l.map(b, input.l.map(c, input.l)))",
        "[" + ", ".join(["input.s"] * 150) + "]",
        "[1, 2, 3].all(a, [1, 2, 3].all(b, [1, 2, 3].all(c, input.s == input.s)))",
        "input.o.exists(x, x.b.matches('^a'))",
        "input.s.matches('" + "(x|y)" * 30 + "{1,9}')",
    ],
)
def test_what_could_take_too_long_is_refused_before_it_runs(source: str) -> None:
    with pytest.raises(InvalidInput, match=r"too (long|much)"):
        evaluate(source, LONG)


def test_lists_of_ordinary_length_are_worked_on() -> None:
    items = [{"id": n, "price": n / 2, "name": f"item {n}"} for n in range(300)]
    chosen = evaluate(
        "input.items.filter(i, i.price > 100.0).map(i, {'id': i.id, 'name': i.name})",
        {"input": {"items": items}},
    )
    assert len(chosen) == 99


def test_only_what_is_named_is_looked_at() -> None:
    scope = {"input": {"few": [1, 2]}, "nodes": {"a": LONG["input"]}}
    assert evaluate("input.few.map(x, x + 1)", scope) == [2, 3]


def test_templates_keep_types_alone_and_become_text_in_text() -> None:
    params = {
        "n": "{{ input.count }}",
        "list": ["{{ nodes.fetch.body.items }}", 1, None, True],
        "text": "{{ input.name }} has {{ input.count }}: {{ [1, 'a'] }}{{ input.none }}",
        "plain": "{ no } } template",
        "braces": "{{ {'a': {'b': 1}}['a'] }}",
        "quoted": "{{ '}}' + input.name }}!",
    }
    assert resolve(params, SCOPE) == {
        "n": 4,
        "list": [SCOPE["nodes"]["fetch"]["body"]["items"], 1, None, True],
        "text": 'Ada has 4: [1, "a"]null',
        "plain": "{ no } } template",
        "braces": {"b": 1},
        "quoted": "}}Ada!",
    }


def test_what_an_expression_returns_is_not_read_again() -> None:
    hostile = {"input": {"x": "{{ nodes }}"}, "nodes": {"secret": 1}}
    assert resolve("{{ input.x }}", hostile) == "{{ nodes }}"
    assert resolve("a {{ input.x }}", hostile) == "a {{ nodes }}"


def test_templates_are_found_and_checked_by_place() -> None:
    params = {"a": ["{{ input.x }}", {"b": "c {{ nodes.n.y }} {{ bad }}"}], "d": "{{ open"}
    assert list(expressions_in(params)) == [
        (".a[0]", "input.x"),
        (".a[1].b", "nodes.n.y"),
        (".a[1].b", "bad"),
        (".d", "open"),
    ]
    troubles = dict(check_templates(params))
    assert set(troubles) == {".a[1].b", ".d"}
    assert nodes_named("nodes.n.y + nodes['m'].z + item") == {"n", "m"}


@given(st.text(max_size=60))
def test_any_text_is_evaluated_or_refused(source: str) -> None:
    try:
        json.dumps(evaluate(source, SCOPE))
    except InvalidInput as error:
        assert "\n" not in error.message


@given(st.text(alphabet="{}\"' ainput.c+\\", max_size=40))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        json.dumps(resolve(text, SCOPE))
    except InvalidInput as error:
        assert error.code == "workflow_expression"


DEEPEST = r"""
import sys, threading
from aegis.errors import InvalidInput
from aegis.workflows.expressions import evaluate

def run():
    for part in ("[{}]", "({})", "{{1:{}}}", "size([{}])", "l.map(x,{})", "-{}", "!{}"):
        source = "1"
        for _ in range(30):
            tried = part.format(source)
            try:
                evaluate(tried, {"input": {}})
            except InvalidInput:
                pass
            source = tried
    for many in ("x" + ".a" * 199, "1" + "+1" * 199, "true?1:" * 199 + "1", "1" + "[0]" * 199,
                 "false" + "||false" * 99, "a" + "==a" * 99):
        try:
            evaluate(many, {"input": {}})
        except InvalidInput:
            pass
    print("alive")

threading.stack_size(1 << 20)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_nothing_that_is_let_through_overruns_the_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEEPEST], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "alive", done.stderr[-500:]
