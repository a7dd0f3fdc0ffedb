# SPDX-License-Identifier: Apache-2.0
"""`dogerm train check`: what a training would read, without training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.commands.train import train

COLUMNS = {"prompt": "question", "chosen": "good", "rejected": "bad"}


def row(number: int, good: str, bad: str, **more: Any) -> dict[str, Any]:
    return {"question": f"Name the number after {number}!", "good": good, "bad": bad, **more}


@pytest.fixture
def write(tmp_path: Path, language_model: Path) -> Callable[..., Path]:
    def made(rows: list[dict[str, Any]], **content: Any) -> Path:
        lines = [json.dumps(one) + "\n" for one in rows]
        (tmp_path / "prefs.jsonl").write_text("".join(lines), "utf-8")
        source = {"file": "prefs.jsonl", "columns": COLUMNS, **content.pop("source", {})}
        config = {"model": str(language_model), "data": [source], **content}
        (tmp_path / "config.yml").write_text(yaml.safe_dump(config), "utf-8")
        return tmp_path / "config.yml"

    return made


def check(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, ["check", *map(str, arguments)], catch_exceptions=False)


def told(output: str, name: str) -> list[str]:
    return [line.split(name, 1)[1].strip() for line in output.splitlines() if f"  {name}" in line]


def test_what_a_set_holds(write: Callable[..., Path]) -> None:
    """Misfits by kind with their rows; lengths; lengths' hint; repeats and contradictions."""
    rows = [row(n, f"It is {n + 1}, I would say.", "No.") for n in range(20)]
    rows += [rows[3], row(4, "No.", "It is 5, I would say.")]
    rows += [row(80, "81.", "81.")]
    rows += [row(90, "", "No."), row(91, "92.", " "), {"question": "?", "good": "x"}]
    result = check(write(rows, validation={"share": 0.3}))
    assert result.exit_code == 1
    out = result.stdout
    assert "prefs.jsonl: 26 rows, of which 23 fit" in out
    faults = [line for line in out.splitlines() if " not " in line]
    assert any("row 24" in line and "`good` is empty" in line for line in faults)
    assert any("row 25" in line and "`bad` is empty" in line for line in faults)
    assert any("row 26" in line and "no column `bad`" in line for line in faults)
    assert told(out, "longer")[0].startswith("the longer answer is chosen in 93%: length alone")
    assert told(out, "twice") == ["1 repeat another row"]
    assert told(out, "equal") == ["1 have the same answer twice: nothing is learned from them"]
    assert told(out, "turned") == ["1 stand there the other way round, too"]
    kept = told(out, "trained on")[0], told(out, "validation")[0]
    assert sum(int(line.split()[0]) for line in kept) == 23


def test_where_no_row_fits_nothing_else_is_blamed(write: Callable[..., Path]) -> None:
    rows = [{"question": f"{n}?", "god": "Yes.", "bad": "No."} for n in range(4)]
    result = check(write(rows))
    assert result.exit_code == 1
    assert "no column `good`" in result.stdout and "No training: no row fits\n" in result.stdout


def test_all_rows_fit(write: Callable[..., Path], tmp_path: Path) -> None:
    """What is too long is counted as in the training, and domains are listed."""
    rows = [row(n, f"It is {n + 1}.", "No.", domain="ab"[n % 2]) for n in range(12)]
    rows[0]["good"] = "word " * 300
    config = write(rows, max_length=200, validation={"share": 0.3})
    result = check(config)
    assert result.exit_code == 0
    assert "; 1 longer than 200 (max_length)" in told(result.stdout, "tokens")[0]
    assert told(result.stdout, "domains") == ["a 6, b 6"]
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_prompts_of_a_task_are_found(write: Callable[..., Path], tmp_path: Path) -> None:
    rows = [row(n, f"It is {n + 1}.", "No.") for n in range(30)]
    config = write(rows, validation={"share": 0.2})
    lines = [json.dumps(row(n, "Yes.", "No.")) + "\n" for n in range(15, 45)]
    (tmp_path / "held.jsonl").write_text("".join(lines), "utf-8")
    task = tmp_path / "held.yaml"
    task.write_text(
        "task: held\nclass: !function harness.own_data.OwnPreferences\n"
        f"dataset_path: {tmp_path / 'held.jsonl'}\n"
        "columns: {prompt: question, chosen: good, rejected: bad}\n",
        "utf-8",
    )
    result = check(config, "--against", task)
    (said,) = told(result.stdout, "held")
    count = int(said.split()[0])
    assert f"{count} of 30 prompts are trained on" in said and 5 < count <= 15
    refused = check(config, "--against", "no_such_task")
    assert refused.exit_code == 1 and "no task 'no_such_task'" in refused.output


def test_language_models_data(write: Callable[..., Path]) -> None:
    """Responses in place of pairs, by what the source has; --kind says otherwise."""
    rows = [{"question": f"{n}?", "response": f"{n + 1}."} for n in range(12)]
    source = {"columns": {"prompt": "question"}}
    config = write(rows, source=source, validation={"share": 0.3})
    result = check(config)
    assert result.exit_code == 0 and not told(result.stdout, "longer")
    assert result.stdout.startswith("Read as answers for a language model (sft). A reward model")
    pairs = check(config, "--kind", "reward")
    assert pairs.exit_code == 1 and "no column `chosen`" in pairs.output
    assert "a row of one answer is what `dogerm train sft` learns from" in pairs.output
    assert "Read as" not in check(config, "--kind", "sft").output
    assert "No training: no row fits" in pairs.output


def test_stages_are_checked_each(write: Callable[..., Path]) -> None:
    """A config of `dogerm train customized`; a stage without data has nothing to look at."""
    rows = [row(n, f"It is {n + 1}.", "No.", about="law") for n in range(12)]
    config = write(rows, validation={"share": 0.3})
    content = yaml.safe_load(config.read_text("utf-8"))
    source = content.pop("data")[0]
    content["language_model"] = {"data": [{"generator": "sums", "rows": 20}]}
    content["general"] = {"data": [source]}
    own = {**source, "columns": {**source["columns"], "domain": "about"}}
    content["customized"] = {"data": [own]}
    config.write_text(yaml.safe_dump(content), "utf-8")
    result = check(config)
    assert result.exit_code == 0, result.output
    stages = result.stdout.split("Stage ")
    assert [stage.split()[0] for stage in stages[1:]] == ["language_model", "general", "customized"]
    assert not told(stages[1], "longer") and told(stages[2], "longer")
    assert told(stages[3], "domains") == ["law 12"]
    (config.parent / "prefs.jsonl").write_text(json.dumps(row(1, "", "No.")) + "\n", "utf-8")
    assert check(config).exit_code == 1
