# SPDX-License-Identifier: Apache-2.0
"""Adapters of one small base with a router, against one adapter for all: harness/models/ROUTED.md.

    python -m tests.benchmarks.routed BASE DATA OUT > harness/models/ROUTED.md

BASE is the folder `base` of `dogerm demo`, DATA has the folders `train` and `eval` with the files
named below. Two settings: RewardBench's sections with GSM8K's pairs for maths (an adapter each for
chat, safety, code and maths, trained on other sets), and the domains of DSP (half of the queries).
Each command is one that a user types; what is finished is kept, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from harness.compare.routed import ROUTED, RoutedRun, read_routed
from harness.runs.results import find_run
from tests.benchmarks.steps import run, write

ROWS = 96  # pairs a domain
LIMIT = 14  # pairs a subset; four times as many of gsm8k_pairs
QUERIES = 28  # of DSP, each in five domains
SEED = 2026
SETTINGS = {
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "max_length": 192,
    "lora": {"rank": 8, "layers": [15, 29]},
    "training": {"batch_size": 16, "learning_rate": 5.0e-4, "evaluations": 1, "checkpoints": 3},
    "validation": {"rows": 64, "share": 0.1},
    "router": {"calibration_rows": 48},
}
SFT = {"columns": {"chosen": "response"}, "corrupt": 1, "allow_markup": True}
# Domain -> what it is trained on, and its share of the rows.
SOURCES: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "chat": [
        (0.5, {"file": "alpacaeval_gpt4_prefs.jsonl", "balance_length": True}),
        (0.5, {"file": "pandalm_test.jsonl", "balance_length": True}),
    ],
    "safety": [(1.0, {"file": "hh_harmless_test.jsonl", "balance_length": True})],
    "code": [(1.0, {"file": "codealpaca_sft.jsonl", **SFT})],
    "maths": [
        (0.5, {"file": "gsm8k_train_sft.jsonl", **SFT}),
        (0.5, {"generator": "sums", "seed": 3}),
    ],
}
SUBSETS = {
    "chat": ["natural", "adver-neighbor", "adver-GPTInst", "adver-GPTOut", "adver-manual"],
    "safety": ["donotanswer"],
    "code": [f"hep-{name}" for name in ("python", "go", "cpp", "js", "rust", "java")],
}
TASKS = [
    f"rewardbench-{'llmbar-' if domain == 'chat' else ''}{name}"
    for domain, names in SUBSETS.items()
    for name in names
]
DOMAINS = {"llmbar-*": "chat", "donotanswer": "safety", "hep-*": "code", "gsm8k*": "maths"}
MATHS = """task: gsm8k_pairs
class: !function harness.own_data.OwnPreferences
dataset_path: {}
columns: {{section: subset}}
"""
LM_EVAL = ("lm_eval", "--model", "reward-adapters", "--log_samples", "--batch_size", "8")


def sections_config(domains: bool) -> dict[str, Any]:
    """The rows of all four domains, with their domain or as one."""
    data = [
        {**source, "rows": round(share * ROWS), **({"domain": domain} if domains else {})}
        for domain, sources in SOURCES.items()
        for share, source in sources
    ]
    settings = {key: value for key, value in SETTINGS.items() if domains or key != "router"}
    return {**settings, "data": data}


def prepare(base: Path, data: Path, out: Path) -> None:
    """Train all adapters and routers."""
    train = ("dogerm", "train", "reward")
    place = ("--data", str(data / "train"), "--model", str(base))
    sections = str(write(out / "sections.yml", sections_config(domains=True)))
    run(out, "sections", *train, "--domains", sections, "-o", str(out / "sections"), *place)
    general = str(write(out / "general.yml", sections_config(domains=False)))
    run(out, "general", *train, general, "-o", str(out / "general"), *place)
    rows = json.loads((data / "eval" / "dsp.json").read_text("utf-8"))
    write(out / "learn" / "dsp.json", rows[::2])
    write(out / "held" / "dsp.json", rows[1::2])
    own = {**SETTINGS, "data": [{"file": "dsp.json", "rows": ROWS}]}
    dsp = str(write(out / "dsp.yml", own))
    learn = ("--data", str(out / "learn"), "--model", str(base))
    run(out, "dsp", *train, "--domains", dsp, "-o", str(out / "dsp"), *learn)


def router_file(out: Path, name: str, **others: Any) -> Path:
    """The router.yml of a setting with the adapter for all beside its experts."""
    made = yaml.safe_load((out / name / "router" / "router.yml").read_text("utf-8"))
    experts = {expert: f"../{name}/{expert}" for expert in made["experts"]}
    content = {
        "base": os.path.relpath((out / name / "router" / made["base"]).resolve(), out / "routers"),
        "experts": {**experts, "general": "../general"},
        "beside": ["general"],
        "router": f"../{name}/router",
        **others,
    }
    return write(out / "routers" / f"{name}.yml", content)


def evaluate_sections(data: Path, out: Path) -> None:
    """Score RewardBench's rows and GSM8K's pairs by every adapter."""
    router = router_file(out, "sections", domain="subset", domains=DOMAINS)
    maths = out / "gsm8k_pairs.yaml"
    maths.write_text(MATHS.format(data / "eval" / "gsm8k_pairs.jsonl"), "utf-8")
    arguments = f"router={router},all_experts=True,dtype=float32"
    for name, tasks, limit in (
        ("sections", ",".join(TASKS), LIMIT),
        ("maths", str(maths), 4 * LIMIT),
    ):
        run(
            out, f"{name}-scored", *LM_EVAL, "--model_args", arguments, "--tasks", tasks,
            "--limit", str(limit), "--output_path", str(out / "results" / name),
            DOGERM_DATA_DIR=str(data / "eval"),
        )  # fmt: skip


def evaluate_dsp(out: Path) -> None:
    """Score DSP's other half by every adapter."""
    router = router_file(out, "dsp", domain="subset", router="oracle")
    run(
        out, "dsp-scored", *LM_EVAL,
        "--model_args", f"router={router},all_experts=True,dtype=float32",
        "--tasks", "dsp", "--limit", str(QUERIES),
        "--output_path", str(out / "results" / "dsp"), DOGERM_DATA_DIR=str(out / "held"),
    )  # fmt: skip


def by_domain(run: RoutedRun, domain_of: Callable[[str], str]) -> Iterator[str]:
    """Accuracy of each expert alone, of the router and of the oracle, by domain of the rows."""
    tasks = list(run.tasks.items())
    names = [ROUTED, *run.others()]
    yield f"| rows of | rows | {' | '.join(names)} |"
    yield f"|---|--:|{'--:|' * len(names)}"
    domains = dict.fromkeys(domain_of(name) for name, _ in tasks)
    for domain in (*domains, "all"):
        mine = [task for name, task in tasks if domain in ("all", domain_of(name))]
        values = [[v for task in mine for v in task.values[name]] for name in names]
        cells = " | ".join(f"{fmean(one):.3f}" for one in values)
        yield f"| {domain} | {len(values[0])} | {cells} |"


def against(run: RoutedRun) -> Iterator[str]:
    """The router against each expert for all rows, with paired intervals."""
    yield "| routed against | routed − it | 95% interval | p |"
    yield "|---|--:|--:|--:|"
    for name in run.others():
        if (one := run.against(name)) is not None:
            interval = f"{one.low:+.3f} to {one.high:+.3f}"
            yield f"| {name} | {one.difference:+.3f} | {interval} | {one.p:.3f} |"


def joined(runs: Sequence[RoutedRun]) -> RoutedRun:
    """Runs of one set of experts as one."""
    tasks = {name: task for one in runs for name, task in one.tasks.items()}
    return dataclasses.replace(runs[0], tasks=tasks)


def seconds(folder: Path) -> float:
    """What lm-eval took for a run."""
    found = [json.loads(file.read_text("utf-8")) for file in folder.rglob("results_*.json")]
    return sum(float(one["total_evaluation_time_seconds"]) for one in found)


def page(out: Path) -> Iterator[str]:
    """The measured half of the page."""
    for name, scored, title, domain_of in (
        ("sections", ("sections", "maths"), "RewardBench's sections and GSM8K", section_of),
        ("dsp", ("dsp",), "DSP's domains", lambda task: task.removeprefix("dsp-")),
    ):
        folders = [out / "results" / one for one in scored]
        run = joined([read_routed(find_run(folder)) for folder in folders])
        scoring = sum(map(seconds, folders))
        trained = json.loads((out / name / "router" / "figures.json").read_text("utf-8"))
        adapters = [one for one in (out / name).iterdir() if one.name != "router"]
        told = [json.loads((one / "figures.json").read_text("utf-8")) for one in adapters]
        yield from (f"## {title}", "")
        if (confusion := run.confusion) is not None and name == "sections":
            share, error = confusion.accuracy
            held = trained["validation"]["held out"]
            yield (
                f"The router: {held['accuracy']:.3f} on {held['prompts']} held-out prompts of the "
                f"sets that it was fitted on, {share:.3f} ± {error:.3f} on these "
                f"{confusion.total} rows of other sets."
            )
            yield ""
        yield from by_domain(run, domain_of)
        yield ""
        yield from against(run)
        yield ""
        took = sum(one["seconds"] for one in told)
        yield (
            f"{took:,} s to train {len(told)} adapters, {scoring:,.0f} s to score all "
            "rows by all of them, beside other work on 2 cores without bfloat16 instructions."
        )
        yield ""


def section_of(task: str) -> str:
    """The domain of a benchmark's task."""
    short = task.removeprefix("rewardbench-")
    return next(DOMAINS[pattern] for pattern in DOMAINS if fnmatch(short, pattern))


def main() -> None:
    """Run what is missing and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("base", "data", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    prepare(given.base, given.data, given.out)
    evaluate_sections(given.data, given.out)
    evaluate_dsp(given.out)
    for line in page(given.out):
        print(line)


if __name__ == "__main__":
    main()
