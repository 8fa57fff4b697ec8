"""`report.html`: one page, nothing beside it needed, made from the run folder alone."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np

from tdml.common.files import replace_file
from tdml.errors import SettingError
from tdml.ledger.reader import LEDGER, read
from tdml.monitor.figures import COLOURS, curves, rank_scatter, to_svg
from tdml.monitor.record import LEGEND, MARKS, NOT_FORMED, form_of, headline, ranked, replicas_of
from tdml.monitor.run_folder import read_metrics, reading
from tdml.monitor.timeline import timeline_of
from tdml.monitor.timeline_figure import draw_timeline

_MOST_SCATTERS = 24  # each is a twentieth of a second's work, and 20 KB of the page
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.sub { color: #666; margin-top: .2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }
dt { color: #666; } dd { margin: 0; }
table { border-collapse: collapse; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e3e3e3; }
th { font-weight: 600; } td.verdict { text-align: center; font-weight: 700; }
td.reason, th.reason { text-align: left; }
svg { max-width: 100%; height: auto; } .figures { display: flex; flex-wrap: wrap; gap: .5rem; }
.wide { overflow-x: auto; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: 13px; }
"""


def write_report(run: Path) -> Path:
    """Write RUN/report.html and return its path.

    Raises:
        SettingError: `run` holds no rounds, or a file in it is not what a run writes.
    """
    played = read_metrics(run, void=True)
    lines = [line for line in played if not line.get("void")]
    if not lines:
        raise SettingError(f"{run} holds no rounds: give the folder of a run, such as runs/demo")
    path = run / "report.html"
    with reading(f"{run}: metrics.jsonl or summary.json"):  # a ledger names itself
        page = _page(run, lines, played)
    replace_file(path, page)
    return path


def _page(run: Path, lines: list[dict[str, Any]], played: list[dict[str, Any]]) -> str:
    """`played` are the lines of all rounds, those that were taken back among them."""
    summary_file = run / "summary.json"
    summary = json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.is_file() else {}
    if summary.get("round", 0) < lines[-1]["round"]:  # the run goes on since, or did
        summary = {"name": summary.get("name", run.name)}
    config = run / "config.yaml"
    settings = config.read_text(encoding="utf-8") if config.is_file() else ""
    title = html.escape(str(summary.get("name", run.name)))
    ended = html.escape(str(summary.get("exit_reason", "unfinished")))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TDML run {title}</title><style>{STYLE}</style></head><body>
<h1>TDML run {title}</h1><p class="sub">{ended}</p>
{_facts(lines, played, summary)}
<h2>{html.escape(_title(headline(lines[-1])))} and loss</h2>{to_svg(curves(lines))}
{_timeline(run)}<h2>Verdicts</h2><div class="wide">{_verdicts(played)}</div>{_legend()}
<h2>What was found</h2>{_findings(played)}
<h2>Mean against standard deviation of ranks</h2>{_scatters(played)}
<h2>Seconds by phase</h2><div class="wide">{_seconds(lines)}</div>
<h2>Settings</h2><pre>{html.escape(settings)}</pre>
</body></html>
"""


def _scatters(played: list[dict[str, Any]]) -> str:
    """Of some rounds, where there are many: TensorBoard has them all."""
    rounds = [line for line in played if ranked(line)]
    if not rounds:
        return "<p>No replica was ranked.</p>"
    shown = _telling(rounds)
    of = f"<p>{len(shown)} of {len(rounds)} rounds; TensorBoard has all.</p>"
    drawn = "".join(to_svg(rank_scatter(line)) for line in shown)
    return f'{of if len(shown) < len(rounds) else ""}<div class="figures">{drawn}</div>'


def _telling(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`_MOST_SCATTERS` at most, those with the gravest verdicts first, spread evenly over their
    equals; in their order."""
    chosen: list[int] = []
    for verdict in COLOURS:
        worst = [i for i, line in enumerate(lines) if _worst(line) == verdict]
        count = min(len(worst), _MOST_SCATTERS - len(chosen))
        chosen += [worst[i] for i in np.linspace(0, len(worst) - 1, count).astype(int)]
    return [lines[i] for i in sorted(chosen)]


def _worst(line: dict[str, Any]) -> str:
    """Of the verdicts on those that were ranked."""
    verdicts = {replica["verdict"] for replica in ranked(line).values()}
    return next((verdict for verdict in COLOURS if verdict in verdicts), "honest")


def _timeline(run: Path) -> str:
    """Who held which slot, if the folder has its ledger.

    Raises:
        SettingError: the ledger is damaged.
    """
    if not (run / LEDGER).is_file():
        return ""
    with read(run / LEDGER) as ledger:
        timeline = timeline_of(ledger.entries())
    return (
        f'<h2>Who held which slot</h2><div class="wide">{to_svg(draw_timeline(timeline))}</div>\n'
    )


def _facts(
    lines: list[dict[str, Any]], played: list[dict[str, Any]], summary: dict[str, Any]
) -> str:
    last = lines[-1]
    metrics = {
        name: value
        for name, value in last.items()
        if name.startswith("test_") and name != "test_loss"
    }
    facts = {
        "Rounds": f"{last['round']}{_void(played)}",
        **{_title(name): _value(value) for name, value in metrics.items()},
        **_best(summary.get("best")),
        "Banned nodes": ", ".join(_banned(played, summary)) or "none",
        "Seconds": f"{sum(line['seconds']['total'] for line in played):.1f}",
        "Sent and received": f"{sum(line['bytes']['down'] for line in played) / 1e6:,.2f} MB down, "
        f"{sum(line['bytes']['up'] for line in played) / 1e6:,.2f} MB up",
    }
    return (
        "<dl>"
        + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
        + "</dl>"
    )


def _banned(played: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
    """In the rounds, and those that came back although they were banned, of whom the summary
    knows."""
    proven = {name for line in played for name in line["banned"]}
    return sorted(proven.union(summary.get("banned", [])))


def _void(played: list[dict[str, Any]]) -> str:
    void = sum(bool(line.get("void")) for line in played)
    return f", and {void} that were taken back" if void else ""


def _best(best: dict[str, Any] | None) -> dict[str, str]:
    if not best:
        return {}
    name = "accuracy" if "validation_accuracy" in best else "loss"
    value, tested = _value(best[f"validation_{name}"]), _value(best[f"test_{name}"])
    return {f"Best validation {name}": f"{value} in round {best['round']}, test {name} {tested}"}


def _value(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _title(name: str) -> str:
    """Of a metric: test_token_accuracy → Test token accuracy."""
    return name.replace("_", " ").capitalize()


def _verdicts(lines: list[dict[str, Any]]) -> str:
    metric, replicas = headline(lines[-1]), replicas_of(lines)
    head = (
        f"<tr><th>round</th><th>{html.escape(metric.replace('_', ' '))}</th>"
        + "".join(f"<th>r{name}</th>" for name in replicas)
        + "</tr>"
    )
    rows = []
    for line in lines:
        value = line.get(f"test_{metric}")
        shown = "–" if value is None else format(value, form_of(metric))
        cells = f"<td>{_number(line)}</td><td>{shown}</td>"
        for name in replicas:
            record = line["replicas"].get(name, {"verdict": "", "reason": "not formed"})
            colour = COLOURS.get(record["verdict"], "#777")
            tip = html.escape(record["reason"], quote=True)
            mark = MARKS.get(record["verdict"], NOT_FORMED)
            cells += f'<td class="verdict" style="color:{colour}" title="{tip}">{mark}</td>'
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{head}{''.join(rows)}</table>"


def _legend() -> str:
    return f'<p class="sub">{" &nbsp; ".join(LEGEND)}</p>'


def _findings(played: list[dict[str, Any]]) -> str:
    rows = []
    for line in played:
        number = _number(line)
        said = {f"replica {n} lost: {r['reason']}" for n, r in line["replicas"].items()}
        for name, record in line["replicas"].items():
            if record["verdict"] != "honest":
                where = ", ".join(record.get("nodes", [])) or f"r{name}"
                text = (where, _effect(line, name), record["reason"])
                cells = "".join(f'<td class="reason">{html.escape(cell)}</td>' for cell in text)
                rows.append(f'<tr><td class="reason">{number}</td>{cells}</tr>')
        for note in (note for note in line.get("notes", []) if note not in said):
            cell = f'<td class="reason" colspan="3">{html.escape(note)}</td>'
            rows.append(f'<tr><td class="reason">{number}</td>{cell}</tr>')
    if not rows:
        return "<p>Nothing: every replica was found honest in every round.</p>"
    head = "".join(
        f'<th class="reason">{title}</th>' for title in ("round", "who", "verdict", "evidence")
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _number(line: dict[str, Any]) -> str:
    """Of a round, and whether it still counts."""
    text = f"{line['round']}, taken back" if line.get("void") else str(line["round"])
    return html.escape(text)


def _effect(line: dict[str, Any], name: str) -> str:
    """The verdict, and whether the update counts where that does not go without saying."""
    verdict = line["replicas"][name]["verdict"]
    return (
        verdict
        if verdict != "suspicious" or int(name) in line["accepted"]
        else "suspicious, does not count"
    )


def _seconds(lines: list[dict[str, Any]]) -> str:
    phases = list(lines[0]["seconds"])
    head = (
        "<tr><th>round</th>"
        + "".join(f"<th>{html.escape(phase.replace('_', ' '))}</th>" for phase in phases)
        + "</tr>"
    )
    rows = "".join(
        f"<tr><td>{_number(line)}</td>"
        + "".join(f"<td>{line['seconds'][phase]:.2f}</td>" for phase in phases)
        + "</tr>"
        for line in lines
    )
    return f"<table>{head}{rows}</table>"
