"""Every form of a row gives the reward that transformers gives of the conversation it means."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.rows.conftest import WHOLE, Scored

Message = dict[str, Any]
Score = Callable[..., Scored]


def user(text: Any, **more: Any) -> Message:
    return {"role": "user", "content": text, **more}


def assistant(text: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def call(name: str) -> list[Message]:
    return [{"type": "function", "function": {"name": name, "arguments": {"city": "Oslo"}}}]


SYSTEM = {"role": "system", "content": "Answer in French."}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
TALK = [user("2+2?"), assistant("4"), user("And 3+3?")]
HUMAN = "\n\nHuman: 2+2?\n\nAssistant: 4\n\nHuman: And 3+3?\n\nAssistant:"
PARTS = [{"type": "text", "text": "And "}, {"type": "text", "text": "3+3?"}]
SHAREGPT = [
    {"from": "human", "value": "2+2?"},
    {"from": "gpt", "value": "4"},
    {"from": "human", "value": "And 3+3?"},
]
RESULT = {"role": "tool", "tool_call_id": "call1", "name": "weather", "content": "rain"}

# name: (the row, what the two conversations are but for answers "6" and "7")
FORMS: dict[str, tuple[dict[str, Any], list[Message]]] = {
    "text": ({"prompt": "2+2?", "chosen": "6", "rejected": "7"}, [user("2+2?")]),
    "messages": ({"prompt": TALK, "chosen": [assistant("6")], "rejected": [assistant("7")]}, TALK),
    "one message alone": ({"prompt": user("Hi"), "chosen": "6", "rejected": "7"}, [user("Hi")]),
    "an answer alone": ({"prompt": TALK, "chosen": assistant("6"), "rejected": "7"}, TALK),
    "parts": ({"prompt": [*TALK[:2], user(PARTS)], "chosen": "6", "rejected": "7"}, TALK),
    "a part in the answer": (
        {
            "prompt": TALK,
            "chosen": [assistant([{"type": "text", "text": "6"}])],
            "rejected": [assistant("7")],
        },
        TALK,
    ),
    "a null system message": (
        {"prompt": [{"role": "system", "content": None}, *TALK], "chosen": "6", "rejected": "7"},
        TALK,
    ),
    "ShareGPT": (
        {
            "prompt": SHAREGPT,
            "chosen": {"from": "gpt", "value": "6"},
            "rejected": {"from": "gpt", "value": "7"},
        },
        TALK,
    ),
    "a transcript": ({"prompt": HUMAN, "chosen": " 6", "rejected": " 7"}, TALK),
    "transcripts alone": ({"chosen": HUMAN + " 6", "rejected": HUMAN + " 7"}, TALK),
    "transcripts beside theirs": (
        {"prompt": HUMAN, "chosen": HUMAN + " 6", "rejected": HUMAN + " 7"},
        TALK,
    ),
    "conversations": (
        {"chosen": [*TALK, assistant("6")], "rejected": [*TALK, assistant("7")]},
        TALK,
    ),
    "conversations and their prompt": (
        {"prompt": TALK, "chosen": [*TALK, assistant("6")], "rejected": [*TALK, assistant("7")]},
        TALK,
    ),
    "conversations and their first question": (
        {"prompt": "2+2?", "chosen": [*TALK, assistant("6")], "rejected": [*TALK, assistant("7")]},
        TALK,
    ),
    "the prompt has the system message": (
        {
            "prompt": [SYSTEM, *TALK],
            "chosen": [*TALK, assistant("6")],
            "rejected": [*TALK, assistant("7")],
        },
        [SYSTEM, *TALK],
    ),
    "the assistant begins": (
        {
            "chosen": [assistant("Hello!"), user("2+2?"), assistant("6")],
            "rejected": [assistant("Hello!"), user("2+2?"), assistant("7")],
        },
        [assistant("Hello!"), user("2+2?")],
    ),
    "the assistant begins, beside its prompt": (
        {
            "prompt": "2+2?",
            "chosen": [assistant("Hello!"), user("2+2?"), assistant("6")],
            "rejected": [assistant("Hello!"), user("2+2?"), assistant("7")],
        },
        [assistant("Hello!"), user("2+2?")],
    ),
    "JSON text": (
        {
            "prompt": json.dumps(TALK),
            "chosen": json.dumps([assistant("6")]),
            "rejected": json.dumps([assistant("7")]),
        },
        TALK,
    ),
    "Python's text of a list": (
        {"chosen": str([*TALK, assistant("6")]), "rejected": str([*TALK, assistant("7")])},
        TALK,
    ),
    "an empty prompt beside conversations": (
        {"prompt": "", "chosen": [*TALK, assistant("6")], "rejected": [*TALK, assistant("7")]},
        TALK,
    ),
    "conversations in an object": (
        {
            "chosen": {"messages": [*TALK, assistant("6")]},
            "rejected": {"messages": [*TALK, assistant("7")]},
        },
        TALK,
    ),
    "one side whole": ({"chosen": [*TALK, assistant("6")], "rejected": assistant("7")}, TALK),
    "a tool's answer": (
        {
            "prompt": [user("Rain?"), assistant(None, tool_calls=call("weather")), RESULT],
            "chosen": "6",
            "rejected": "7",
        },
        [user("Rain?"), {"role": "assistant", "tool_calls": call("weather")}, RESULT],
    ),
    "other roles and names": (
        {
            "prompt": [{"role": "developer", "content": "Be brief."}, user("Hi", name="Ada")],
            "chosen": "6",
            "rejected": "7",
        },
        [{"role": "developer", "content": "Be brief."}, user("Hi", name="Ada")],
    ),
}


def test_a_form_is_the_conversation_it_means(
    score: Score, by_transformers: Callable[..., float]
) -> None:
    """All in one file."""
    expected = {
        name: [by_transformers([*before, assistant(answer)]) for answer in "67"]
        for name, (_, before) in FORMS.items()
    }
    assert all(abs(one - other) > 1e-4 for one, other in expected.values())
    found = dict(zip(FORMS, score([row for row, _ in FORMS.values()]).rewards, strict=True))
    for name in FORMS:
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name


def test_tool_calls_are_the_answer(score: Score, by_transformers: Callable[..., float]) -> None:
    """Both sides say the same words, one calls another function, one more answers it."""
    prompt = [user("Will it rain?")]
    sides = [
        [assistant("Wait.", tool_calls=call("weather"))],
        [assistant("Wait.", tool_calls=call("delete")), RESULT, assistant("It rains.")],
    ]
    row = {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}
    expected = [by_transformers([*prompt, *side]) for side in sides]
    assert score([row]).rewards == [pytest.approx(expected, abs=1e-5)]
    thoughts = [[assistant("4", reasoning_content=text)] for text in ("easy", "hard")]
    row = {"prompt": "2+2?", "chosen": thoughts[0], "rejected": thoughts[1]}
    expected = [by_transformers([user("2+2?"), *side]) for side in thoughts]
    assert score([row]).rewards == [pytest.approx(expected, abs=1e-5)]


@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS)])
def test_columns_for_the_template(
    tools: Any, score: Score, by_transformers: Callable[..., float]
) -> None:
    """`system`, `tools` and `documents`; cells may be empty, the list JSON text."""
    documents = [{"title": "Oslo", "text": "It rains."}]
    full = {"prompt": "Rain?", "chosen": "6", "rejected": "7"}
    full.update(sys="Answer in French.", tools=tools, docs=documents)
    empty = {**full, "sys": " ", "tools": None, "docs": []}
    found = score([full, empty], "columns: {system: sys, tools: tools, documents: docs}")
    turns = [SYSTEM, user("Rain?")]
    beside = {"tools": TOOLS, "documents": documents}
    expected = [by_transformers([*turns, assistant(a)], **beside) for a in "67"]
    assert found.rewards[0] == pytest.approx(expected, abs=1e-5)
    expected = [by_transformers([user("Rain?"), assistant(a)]) for a in "67"]
    assert found.rewards[1] == pytest.approx(expected, abs=1e-5)


def test_columns_that_mean_something_are_told_of_once(
    score: Score, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"prompt": "Rain?", "chosen": "6", "rejected": "7", "images": [], "note": "n"}
    rows = [{**row, "system": "Be kind.", "tools": TOOLS}, {**row, "images": ["cat.png"]}, row]
    with caplog.at_level(logging.WARNING):
        score(rows)
    assert caplog.text.count("column system is filled in 1 of 3 rows and not used: ") == 1
    assert caplog.text.count("write columns: {tools: tools}") == 1
    assert caplog.text.count("column images is filled in 1 of 3 rows") == 1
    assert "note" not in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        score(rows, "columns: {system: system, tools: null, images: null}")
    assert "not used" not in caplog.text
    with pytest.raises(HarnessError, match="columns: images is 'images', but these models read"):
        score(rows, "columns: {images: images}")
    with pytest.raises(HarnessError, match=r"p.jsonl: no row has the column systm, which columns:"):
        score(rows, "columns: {system: systm}")


REFUSED = {
    "the system column says something else": (
        {"prompt": [SYSTEM, user("Hi")], "chosen": "6", "rejected": "7", "system": "Be kind."},
        "columns: {system: system}",
        r"row 2: .*'Be kind.', but the conversation has the system message 'Answer in French",
    ),
    "tools that are none": (
        {"prompt": "Hi", "chosen": "6", "rejected": "7", "tools": "weather"},
        "columns: {tools: tools}",
        "row 2: column tools is 'weather', which is not JSON",
    ),
    "a picture": (
        {
            "prompt": [user([{"type": "image_url", "image_url": {"url": "a.png"}}])],
            "chosen": "6",
            "rejected": "7",
        },
        "",
        "row 2: column prompt: turn 1 holds a part of type image_url; only text",
    ),
    "half a surrogate pair": (
        {"prompt": "cut \ud83d", "chosen": "6", "rejected": "7"},
        "",
        r"row 2: column prompt: .* half a surrogate pair \(\\ud83d\) at character 5",
    ),
    "half a pair in an answer": (
        {"prompt": "Hi", "chosen": "6", "rejected": "\udc00"},
        "",
        "row 2: column rejected holds half a surrogate pair",
    ),
    "half a pair in a tool call": (
        {
            "prompt": "Hi",
            "chosen": [assistant("6", tool_calls=call("\ud83d"))],
            "rejected": [assistant("7")],
        },
        "",
        "row 2: column chosen: turn 1, key tool_calls, holds half a surrogate pair",
    ),
    "a role that the template refuses": (
        {"prompt": [{"role": "judge", "content": "x"}, user("y")], "chosen": "6", "rejected": "7"},
        "",
        r"p.jsonl, row 2, .*No judges here",
    ),
    "markup that the template writes": (
        {"prompt": "<|im_start|>user\nHi<|im_end|>", "chosen": "6", "rejected": "7"},
        "",
        r"p.jsonl, row 2, .*the user's text holds '<\|im_start\|>'.*allow_markup: true",
    ),
    "markup in the answer": (
        {"prompt": "Hi", "chosen": "6", "rejected": "7</s>"},
        "",
        "row 2, .*the assistant's text holds '</s>'",
    ),
    "a tool call without end": (
        {
            "prompt": "Hi",
            "chosen": [assistant("6", tool_calls=json.loads("[" * 150 + "]" * 150))],
            "rejected": [assistant("7")],
        },
        "",
        "row 2: column chosen: turn 1, key tool_calls, holds lists or objects nested deeper than",
    ),
    "text that looks like messages": (
        {"prompt": "[{'role': 'user'}\n {'role': 'user'}]", "chosen": "6", "rejected": "7"},
        "",
        "row 2: column prompt looks like a list of messages and is neither JSON nor Python",
    ),
    "a call as ShareGPT's turn": (
        {"prompt": [{"from": "function_call", "value": "{}"}], "chosen": "6", "rejected": "7"},
        "",
        "row 2: column prompt: turn 1 is from function_call; write the call as the key tool_calls",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_one_line_with_the_row(name: str, score: Score) -> None:
    row, columns, message = REFUSED[name]
    fine = {"prompt": "Hi", "chosen": "6", "rejected": "7", "system": "", "tools": None}
    with pytest.raises(HarnessError, match=message) as caught:
        score([fine, row], *([columns] if columns else []))
    assert "\n" not in str(caught.value)


def test_markup_that_is_meant(score: Score, by_transformers: Callable[..., float]) -> None:
    row = {"prompt": "What is </s>?", "chosen": "6", "rejected": "7"}
    expected = [by_transformers([user("What is </s>?"), assistant(a)]) for a in "67"]
    assert score([row], "allow_markup: true").rewards == [pytest.approx(expected, abs=1e-5)]
    with pytest.raises(HarnessError, match="allow_markup is 'yes', expected true or false"):
        score([row], "allow_markup: 'yes'")


def model_with(template: str, folder: Path) -> Any:
    from harness.models.reward import Reward

    return Reward(str(folder), device="cpu", chat_template=template)


BARE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ (m['content'] or '') | trim }}"
    "<|im_end|>\n{% endfor %}"
)


def test_what_a_template_hides_is_refused_where_it_decides(
    score: Score, whole_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two answers that differ in tool calls alone; elsewhere the key is told of, with its count."""
    bare = model_with(BARE, whole_model)
    fine = {"prompt": [user("Hi", name="Ada")], "chosen": "6", "rejected": "7"}
    row = {
        "prompt": "Rain?",
        "chosen": [assistant("Wait.", tool_calls=call("weather"))],
        "rejected": [assistant("Wait.", tool_calls=call("delete"))],
    }
    with pytest.raises(HarnessError, match=r"p.jsonl, row 2, .*differ in tool_calls, and the chat"):
        score([fine, row], model=bare)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        score([fine, {**fine, "chosen": "8"}], model=bare)
    assert caplog.text.count("leaves out the key name of user messages, in 3 conversations") == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = score([fine, {**fine, "chosen": "7 "}], model=bare)
    assert found.rewards[1][0] == found.rewards[1][1]
    assert "1 answers differ from another one of their row" in caplog.text


def test_a_system_message_that_the_template_drops_is_told_of(
    score: Score, whole_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = BARE.replace("<|im_start|>{{", "{% if m['role'] != 'system' %}<|im_start|>{{", 1)
    dropping = model_with(template.replace("{% endfor %}", "{% endif %}{% endfor %}"), whole_model)
    row = {"system": "Be kind.", "tools": TOOLS, "prompt": "Hi", "chosen": "6", "rejected": "7"}
    with caplog.at_level(logging.WARNING):
        score([row], "columns: {system: system, tools: tools}", model=dropping)
    assert "leaves out the text of system messages, in 2 conversations" in caplog.text
    assert "leaves out the tools, in 2 conversations" in caplog.text


def test_a_template_for_tools_is_used_where_there_are_tools(
    tmp_path: Path, score: Score, whole_model: Path
) -> None:
    """As transformers does with several templates."""
    import shutil

    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path / "two"
    shutil.copytree(whole_model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"default": BARE, "tool_use": WHOLE}
    tokenizer.save_pretrained(folder)
    from harness.models.reward import Reward

    rows = [{"prompt": "Rain?", "chosen": "6", "rejected": "7", "tools": TOOLS}]
    found = score(rows, "columns: {tools: tools}", model=Reward(str(folder), device="cpu"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for answer in "67":
        ids = tokenizer.apply_chat_template(
            [user("Rain?"), assistant(answer)], tools=TOOLS, return_dict=False, return_tensors="pt"
        )
        with torch.no_grad():
            expected.append(float(model(input_ids=ids).logits))
    assert found.rewards == [pytest.approx(expected, abs=1e-5)]


def test_the_cache_knows_tools_and_calls(
    score: Score, whole_model: Path, tmp_path: Path, by_transformers: Callable[..., float]
) -> None:
    """Rows that differ in nothing that is text: each its own reward, from the cache as well."""
    from harness.models.reward import Reward

    row = {"prompt": "Rain?", "chosen": "6", "rejected": "7"}
    others = [None, TOOLS, [{**TOOLS[0], "type": "other"}]]
    rows = [{**row, "tools": tools} for tools in others]
    calls = [assistant("6", tool_calls=call("weather")), assistant("6", tool_calls=call("f"))]
    rows.append({"prompt": "Rain?", "chosen": [calls[0]], "rejected": [calls[1]], "tools": None})
    expected = [
        [by_transformers([user("Rain?"), assistant(a)], tools=tools) for a in "67"]
        for tools in others
    ]
    expected.append([by_transformers([user("Rain?"), turn]) for turn in calls])
    for _ in range(2):
        model, cache = Reward(str(whole_model), device="cpu"), str(tmp_path / "cache")
        found = score(rows, "columns: {tools: tools}", model=model, cache=cache)
        assert found.rewards == [pytest.approx(pair, abs=1e-5) for pair in expected]
    assert model.scored_rows == 0
    (doc,) = [sample["doc"] for sample in found.found["samples"]["p"] if sample["doc_id"] == 3]
    assert doc["chosen"] == [calls[0]]


def test_an_implicit_reward_counts_all_that_follows_the_prompt(language_model: Path) -> None:
    """As in DPO: the calls, what the tool says, and the answer."""
    from harness.models.implicit import RewardImplicit
    from harness.rows.conversation import Turns

    lm = RewardImplicit(str(language_model), device="cpu", chat_template=WHOLE)
    answer = [assistant("Wait.", tool_calls=call("weather")), RESULT, assistant("Rain.")]
    turns = Turns([user("Rain?"), *answer], {"tools": TOOLS}, len(answer))
    found = lm.encoder.encode_response(turns)
    shown = lm.tokenizer.decode(found.ids[found.start :])
    assert shown.startswith("Wait.") and "<|im_start|>tool weather\nrain" in shown


def test_a_benchmark_counts_what_a_users_set_refuses(
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    whole: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A stray special token in code ends no official run."""
    import lm_eval

    from tests.harness.conftest import preference_rows

    rows = preference_rows("hep-python", 3)
    rows[1]["chosen"] = "print('</s>')"
    manager = tasks(data_dir=write_rows(rows))
    with caplog.at_level(logging.WARNING):
        lm_eval.simple_evaluate(whole, tasks=["rewardbench-hep-python"], task_manager=manager)
    assert "1 conversations hold special tokens in their texts" in caplog.text
    assert "'</s>' in task rewardbench-hep-python, document 1" in caplog.text


def test_tools_that_another_model_cannot_take(language_model: Path, own_set: Any) -> None:
    """lm-eval's hf gives its template messages alone."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    rows = [{"prompt": "Rain?", "chosen": "6", "rejected": "7", "tools": TOOLS}]
    yaml = own_set(rows, "columns: {tools: tools}")
    manager = TaskManager(include_path=str(yaml.parent), include_defaults=False)
    options = {
        "model": "hf",
        "model_args": {"pretrained": str(language_model), "device": "cpu"},
        "tasks": ["p"],
        "task_manager": manager,
    }
    with pytest.raises(HarnessError, match="p: tools can't be given to the chat template of this"):
        lm_eval.simple_evaluate(**options, apply_chat_template=True)
