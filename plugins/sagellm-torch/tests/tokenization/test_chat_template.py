"""Templates in the styles that are published, rendered as transformers renders them."""

from __future__ import annotations

import enum
import time
from typing import ClassVar

import pytest
from jinja2.exceptions import SecurityError
from sagellm_torch.tokenization import sandbox
from sagellm_torch.tokenization.chat_template import ChatTemplate

from sagellm_core.contract import TokenizerError

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CHATML = """{% for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{% endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{% endif %}"""
LLAMA3 = """{{ bos_token }}{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""  # noqa: E501
MISTRAL = """{{ bos_token }}{% for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + message['content'] + ' [/INST]' }}
    {%- else %}
        {{- message['content'] + eos_token }}
    {%- endif %}
{% endfor %}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""  # noqa: E501
TOOLS = """{% set ns = namespace(first=true) %}{% if tools %}{% for tool in tools %}
{{ tool | tojson(indent=2) }}
{% endfor %}{% endif %}{% for message in messages %}{% if message.role == 'skip' %}{% continue %}{% endif %}
{% generation %}{{ message.content }}{% endgeneration %}
{% if ns.first %}{% set ns.first = false %}!{% endif %}
{% if message.content is string and loop.index > 2 %}{% break %}{% endif %}{% endfor %}
{{ {"a": "<é>"} | tojson }}{{ range(3) | list }}{{ dict(x=1).x }}"""  # noqa: E501
USER = [{"role": "user", "content": ' Hello <b>&"there" '}]
TURNS = [*USER, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Bye ünï"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *TURNS]


def rendered(source, messages, *, tools=None, generation=True, **sources):
    template = ChatTemplate({"default": source, **sources}, TOKENS)
    return template.render(messages, tools=tools, add_generation_prompt=generation)


@pytest.mark.parametrize("source", [CHATML, LLAMA3, MISTRAL, GEMMA, TOOLS])
@pytest.mark.parametrize("messages", [USER, TURNS])
@pytest.mark.parametrize("generation", [True, False])
def test_as_transformers_renders(source, messages, generation):
    from transformers.utils.chat_template_utils import render_jinja_template

    tools = [{"type": "function", "function": {"name": "f", "parameters": {"é": "<x>"}}}]
    for given in (None, tools):
        (expected,), _ = render_jinja_template(
            [messages],
            tools=given,
            chat_template=source,
            add_generation_prompt=generation,
            **TOKENS,
        )
        assert rendered(source, messages, tools=given, generation=generation) == expected


@pytest.mark.parametrize(
    ("source", "messages", "said"),
    [
        (MISTRAL, SYSTEM, "Conversation roles must alternate"),
        (MISTRAL, [*USER, *USER], "Conversation roles must alternate"),
        (GEMMA, SYSTEM, "System role not supported"),
    ],
)
def test_a_refusal_has_the_words_of_the_template(source, messages, said):
    with pytest.raises(TokenizerError, match=said) as caught:
        rendered(source, messages)
    assert caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content.x.y }}",
        "{{ 1 / 0 }}",
        "{{ messages + 1 }}",
        "{{ none + 'x' }}",
        "{{ missing() }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ strftime_now(3) }}",
    ],
)
def test_failures_are_ours(source):
    with pytest.raises(TokenizerError):
        rendered(source, USER)


@pytest.mark.parametrize("source", ["{% if %}", "{{ 'x", "{% for %}", "{% nonsense %}"])
def test_a_template_that_does_not_compile(source):
    with pytest.raises(TokenizerError, match="does not compile"):
        rendered(source, USER)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("{{ '%05.2f is %s' % (2.5, 12345678) }}", "02.50 is 12345678"),
        ("{{ 'on 20261123: %s' % 'x' }}", "on 20261123: x"),
        ("{{ '{:>4}|{}'.format(7, 99999999) }}", "   7|99999999"),
        ("{{ 123456 % 7 }}{{ 'a'.center(5) }}|{{ 'b' | center(3) }}", "4  a  | b "),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{{ [[1, 2]] * 2 }}", "[[1, 2], [1, 2]]"),
    ],
)
def test_the_limits_let_ordinary_formatting_through(source, wanted):
    assert rendered(source, USER) == wanted


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(9**40) %}{% endfor %}",
        "{% for i in range(0, -10**9, -1) %}{% endfor %}",
        "{% for i in range(2000) %}{% for j in range(2000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**12 }}",
        "{{ 10**9 * [1] }}",
        "{{ 10**(10**10) }}",
        "{{ ['a' * 99999] * 99999 }}",
        "{{ 'a' | center(9999999999) }}",
        "{{ 'a'.center(9999999999) }}",
        "{{ 'a'.ljust(width) if false else 'a'.zfill(10**10) }}",
        "{{ 'a\nb' | indent(9999999999) }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%.999999999f' | format(1.0) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
    ],
)
def test_the_sandbox_has_limits(source):
    began = time.monotonic()
    with pytest.raises(TokenizerError):
        rendered(source, USER)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("source", "limits", "said"),
    [
        (
            "{% set l = (range(3000) | list) %}{% for i in l %}{% for j in l %}{{ j + 1 }}"
            "{% endfor %}{% endfor %}",
            sandbox.Limits(seconds=0.05),
            "ran for longer",
        ),
        (
            "{% for i in range(200) %}{{ i }}{% endfor %}",
            sandbox.Limits(output=100),
            "wrote more than 100",
        ),
    ],
)
def test_time_and_length_are_limited(source, limits, said):
    template = sandbox.environment().from_string(source)
    with pytest.raises(SecurityError, match=said):
        sandbox.rendered(template, {}, limits)


def test_ranges_count_as_pythons():
    for arguments in ("5", "0", "2, 9, 3", "9, 2, -3", "3, 3", "1, 0"):
        source = "{{ range(" + arguments + ") | list }}"
        assert rendered(source, USER) == str(list(eval(f"range({arguments})")))


def test_named_templates():
    sources = {"tool_use": "tools: {{ tools | length }}"}
    assert rendered("plain", USER, **sources) == "plain"
    assert rendered("plain", USER, tools=[{}], **sources) == "tools: 1"
    with pytest.raises(TokenizerError, match="named rag"):
        ChatTemplate({"rag": "x"}, {}).render(USER, tools=None, add_generation_prompt=True)


def test_messages_are_plain_data():
    class Role(enum.StrEnum):
        USER = "user"

    class Leaky:
        secrets: ClassVar = ["x"]

    source = "{{ messages[0].role }}{{ messages[0].role.name is defined }}"
    assert rendered(source, [{"role": Role.USER, "content": ("a", 1)}]) == "userFalse"
    with pytest.raises(TokenizerError, match="Leaky"):
        rendered(source, [{"role": "user", "content": Leaky()}])
    messages = [{"role": "user", "content": ["a"]}]
    rendered("{% set _ = messages[0].content %}{{ _ }}", messages)
    assert messages == [{"role": "user", "content": ["a"]}]


def test_a_date():
    assert rendered("{{ strftime_now('%Y') | int > 2000 }}", USER) == "True"
