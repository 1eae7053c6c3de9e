"""A fit on one page: HTML that holds all it needs, drawn from what a model keeps."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xmodal.answer import titled
from xmodal.artefact import Model
from xmodal.job import Json
from xmodal.metrics import LOWER
from xmodal.report.examples import drawn as drawn
from xmodal.report.html import Html, Line, chart, cut, number, table, tag
from xmodal.report.html import ranged as ranged

Found = Mapping[str, Any]  # of report.json
DRAWN = {"image": "jpeg", "svg": "svg+xml"}  # an img runs no script and loads nothing
KINDS = 10  # of files of a column that are shown; JSON has all
Lines = Sequence[Sequence[object]]  # of a table
OUTCOMES = {
    "pays": "Mixing the inputs paid: together they are better than {single} alone by {gain} of {metric}, on {rows} held-out rows.",
    "does_not_pay": "Mixing the inputs did not pay: against {single} alone it brings {gain} of {metric}, on {rows} held-out rows.",
    "undecided": "Whether mixing pays is undecided: against {single} alone it brings {gain} of {metric}, on {rows} held-out rows.",
    "one_input": "There is one input, {single}, so there is nothing to mix.",
    "no_rows": "There were no labelled test rows, so whether mixing the inputs pays was not measured.",
}


class Shown(dict[str, Json]):
    """What was measured, as it stands in JSON. A notebook shows it as a sentence and a table."""

    def _repr_html_(self) -> str:
        """The verdict, or the scores, or both."""
        found: Any = self
        verdict = found.get("verdict", found if "outcome" in found else None)
        parts = [tag("p", tag("strong", sentence(verdict)))] if verdict else []
        parts += [table(title, ("metric", "value [95 %]"), lines) for title, lines in scored(found)]
        return "".join([*parts, subsets(found)] if found.get("subsets") else parts)


def scored(found: Found) -> Iterator[tuple[str, Lines]]:
    """Of each target how many rows, and every metric."""
    for name, one in found.get("targets", {}).items():
        yield f"{name}: {one['n']} rows ({found['part']})", [(metric, measured(one, metric)) for metric in one["metrics"]]


def compared(sets: Sequence[Found], metric: str) -> tuple[Sequence[str], Lines]:
    """The verdict in figures, a line a set of inputs."""
    over = [f" over {s['best_single']}" if s.get("gain") is not None and "best_single" in s else "" for s in sets]
    gains = [ranged(s.get("gain"), s.get("gain_ci95"), "+") + best for s, best in zip(sets, over, strict=True)]
    lines = [(called(s, sets), measured(s, metric), gain) for s, gain in zip(sets, gains, strict=True)]
    return ("inputs", f"{metric} [95 %]", "gain over the best of them alone"), lines


def called(one: Found, sets: Sequence[Found], room: int = 1000) -> str:
    """A set of inputs by their names, in so many letters."""
    count = len(one["inputs"])
    if 1 < count == max(len(s["inputs"]) for s in sets):
        return "all inputs"
    return " + ".join(cut(name, max(2, (room - 3 * (count - 1)) // count)) for name in one["inputs"])


def inspected(found: Found) -> tuple[dict[str, tuple[Sequence[str], Lines]], str]:
    """What `inspect` found as tables, and what a fit will cost."""
    columns = [tuple(c[k] for k in ("name", "modality", "distinct", "missing", "broken", "reason")) for c in found["columns"]]
    files = [line for c in found["columns"] for line in found_files(c["name"], c.get("files", {}))]
    findings = [tuple(f[k] for k in ("check", "level", "says", "do")) for f in found["findings"]]
    tables: dict[str, tuple[Sequence[str], Lines]] = {
        "Columns": (("column", "read as", "distinct", "missing", "broken", "because"), columns),
        "Files": (("column", "its files", "count"), files),
        "Findings": (("check", "level", "finding", "what to do"), findings),
    }
    told = "A fit on {rows:,} rows: {experts} experts, {fits} fits, about {cpu_seconds:,.0f} CPU seconds."
    return {name: drawn for name, drawn in tables.items() if drawn[1]}, told.format_map(found["cost"]) if found["cost"] else ""


def found_files(column: str, counts: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """A line for each kind of file or oddity, the most frequent first; the rest, as each damage may have its own text, as one."""
    rest = list(counts.values())[KINDS:]
    yield from ((column, kind, f"{count:,}") for kind, count in list(counts.items())[:KINDS])
    if rest:
        yield column, f"{len(rest):,} kinds more", f"{sum(rest):,}"


def sentence(verdict: Found) -> str:
    """The verdict in plain words."""
    gain = "{} (95 %: {} to {})".format(*("–" if v is None else f"{v:.3g}" for v in (verdict["gain"], *verdict["ci95"])))
    return OUTCOMES[verdict["outcome"]].format(single=verdict["best_single"], gain=gain, metric=verdict["metric"], rows=verdict["rows"])


def note(*text: str) -> Html:
    """A remark."""
    return tag("p", *text, class_="soft")


def measured(one: Found | None, metric: str) -> str:
    """A metric with its interval."""
    return ranged(one["metrics"].get(metric), one["ci95"].get(metric)) if one else "–"


def subsets(report: Found) -> Html:
    """The verdict in figures: every input alone, every set of inputs."""
    metric, sets = report["verdict"]["metric"], report["subsets"]
    data = table("Every set of inputs", *compared(sets, metric))
    known = sorted((s for s in sets if s["metrics"][metric] is not None), key=lambda s: len(s["inputs"]))[:40]
    if not known:
        return tag("p", "Not measured: there were no labelled test rows.")
    marks = list[Line]()
    for i, one in enumerate(known):
        (low, high), value = one["ci95"][metric], one["metrics"][metric]
        marks += [[(value, -float(i))], *([[(low, -float(i)), (high, -float(i))]] if low is not None else [])]
    better = f"{'lower' if metric in LOWER else 'higher'} is better"
    names = [called(one, known, 19) for one in known]
    return chart("Inputs alone and together", f"{metric} with 95 % intervals; {better}", metric, marks, data, names)


def experts(report: Found) -> Html:
    """The best of each family, and all that were tried."""
    metric, best, count = report["metric"], dict[str, Any](), len(report["inputs"])

    def badness(one: Found) -> float:
        value = (one.get("validation") or {"metrics": {}})["metrics"].get(metric)
        return math.inf if value is None else value if metric in LOWER else -value

    for e in sorted(report["experts"], key=badness):
        best.setdefault(e["family"], e)
    answer = {**report["answer"], "name": "the answer", "family": "all, pooled"}
    head = ("expert", "family", f"{metric}, validation", f"{metric}, test", "weight", "rounds a fit", "CPU s", "ms a row")
    lines = [
        (cut(titled(e["name"], e["inputs"], count) if "inputs" in e else "the answer", 90), e["family"],
         measured(e.get("validation"), metric), measured(e.get("test"), metric),
         number(report["weights"].get(e["name"])), ", ".join(map(str, e.get("rounds", []))),
         number(e.get("fit_cpu_seconds")), number(e.get("milliseconds_a_row")))
        for e in [*best.values(), answer, *report["experts"]]
    ]  # fmt: skip
    first = table("The best of each family", head[:5], [line[:5] for line in lines[: len(best) + 1]])
    told = note("No weight: tried, and left out of the answer. Hybrid corrects the others' sum and has no score of its own. Rounds are "
                "epochs or trees. Validation rows are those that the fit chose by.")  # fmt: skip
    return tag("div", first, *map(note, brought(report)), table("All experts", head, lines[len(best) + 1 :]), told)


def brought(report: Found) -> list[str]:
    """What a frozen pretrained network adds to each input that has one."""
    return [
        f"Pretrained network of {name}: the validation loss of {name} alone is {number(one['with'])} from its features, "
        f"{number(one['without'])} without them."
        for name, one in report.get("pretrained", {}).items() if "without" in one
    ]  # fmt: skip


def learning(report: Found) -> Html:
    """Loss an epoch of every network."""
    found = list[Html]()
    for e in (e for e in report["experts"] if e.get("curves")):
        lines = [(i + 1, len(c), number(min(c)), c.index(min(c)) + 1) for i, c in enumerate(e["curves"])]
        name = titled(e["name"], e["inputs"], len(report["inputs"]))
        data = table(f"Learning of {name}", ("fit", "epochs", "lowest loss", "in epoch"), lines)
        curves = [[(i + 1.0, v) for i, v in enumerate(c)] for c in e["curves"]]
        found.append(chart(name, "validation loss after each epoch, a line a fit", "epoch", curves, data))
    return tag("div", *found[:12], class_="grid") if found else tag("p", "No expert learns in epochs here.")


def errors(report: Found) -> Html:
    """Confusion of classes, or residuals."""
    found, where = report["details"], f"{report['details']['rows']} {report['details']['part']} rows"
    if "residuals" in found:
        edges, counts = found["residuals"]["edges"], found["residuals"]["counts"]
        bins = list(zip(edges[:-1], edges[1:], counts, strict=True))
        data = table("Residuals", ("from, to", "rows"), [(f"{number(low)} to {number(high)}", n) for low, high, n in bins])
        steps = [(x, y) for low, high, n in bins for x, y in ((low, 0.0), (low, float(n)), (high, float(n)), (high, 0.0))]
        about = f"rows (up) by predicted less true value (across), {where}; the outermost bins hold what lies beyond"
        return chart("Residuals", about, f"error of {report['target']}", [steps], data)
    if "confusion" not in found:
        return tag("p", "Not drawn for this kind of target.")
    names, lines = ["(other classes)" if c is None else cut(c, 40) for c in found["confusion"]["classes"]], []
    for name, counts in zip(names, found["confusion"]["counts"], strict=True):
        lines.append((name, *(tag("td", n, class_="m", style=f"--s:{0.4 * n / max(sum(counts), 1):.2f}") for n in counts)))
    told = note(f"{where}: true classes down, predicted ones across; the darker, the larger the share of its line.")
    return tag("div", told, table("Confusion", ("true class", *names), lines))


def calibration(report: Found) -> Html:
    """Does what is said come true?"""
    found = report["details"]
    if not found.get("calibration"):
        return tag("p", "Not drawn for this kind of target.")
    classes = "probability of the predicted class", "share that was right"
    said, came = classes if "confusion" in found else ("mean predicted value", "mean true value")
    data = table("Bins of equal count", (said, came, "rows"), [(number(x), number(y), n) for x, y, n in found["calibration"]])
    points = [(x, y) for x, y, _ in found["calibration"]]
    ends = [f(v for point in points for v in point) for f in (min, max)]
    about = f"{came} (up) against {said} (across), {found['rows']} {found['part']} rows; on the grey line both are equal"
    return chart("Reliability", about, said, [[(v, v) for v in ends], *([points] if len(points) > 1 else []), *([p] for p in points)], data)


def examples(report: Found) -> Html:
    """Rows drawn with their cells."""
    parts = list[Html]()
    for side in ("right", "wrong") if report["examples"] else ():
        cards = [card(one) for one in report["examples"] if one["side"] == side]
        parts += [tag("h3", f"Most {side}"), tag("div", *cards, class_="grid cards") if cards else tag("p", "None.")]
    return tag("div", *parts) if parts else tag("p", "None: no row of the table was kept.")


def card(one: Found) -> Html:
    """One row."""
    cells = list[Html]()
    for column, kind, content in one["cells"]:
        image = f"data:image/{DRAWN[kind]};base64,{content}" if kind in DRAWN else None
        shown = tag("img", src=image, alt=f"{column} of row {one['row']}") if image else tag("i" if kind == "note" else "bdi", content)
        cells += [tag("dt", column), tag("dd", shown)]
    truth, said = (cut(number(v) if isinstance(v, float) else v, 60) for v in (one["truth"], one["said"]))
    sure = [note(f"probability of the true class: {1 - one['error']:.2f}")] if isinstance(one["said"], str) else []
    return tag("div", tag("h4", f"Row {one['row']}: true {truth}, predicted {said}"), *sure, tag("dl", *cells), class_="card")


def worsened(lines: Sequence[Found]) -> tuple[Sequence[str], Lines]:
    """The first metric under each corruption of each input, by severity."""
    by: dict[tuple[str, str], list[float | None]] = {}
    for line in lines:
        by.setdefault((line["input"], line["corruption"]), []).append(next(iter(line["metrics"].values())))
    metric = next(iter(lines[0]["metrics"]))
    return ("input", "corruption", f"{metric} as it is", *map(str, range(1, 6))), [
        (*name, *map(number, found)) for name, found in by.items()
    ]


def corruptions(report: Found) -> Html:
    """How much the answer bears: a chart an input, and the figures."""
    lines = report["corruptions"]
    if not lines:
        return tag("p", "Not measured: xmodal evaluate MODEL TABLE --corrupt all --json > FILE, then xmodal report --evaluation FILE.")
    (head, data), charts = worsened(lines), []
    metric = next(iter(lines[0]["metrics"]))
    for name in dict.fromkeys(line["input"] for line in lines):
        some = [line for line in lines if line["input"] == name and line["metrics"][metric] is not None]
        kinds = list(dict.fromkeys(line["corruption"] for line in some))
        drawn = [[(float(line["severity"]), line["metrics"][metric]) for line in some if line["corruption"] == kind] for kind in kinds]
        figures = table(f"{name}, {metric} by severity", head, [d for d in data if d[0] == name])
        if drawn:
            charts.append(
                chart(f"{name} made worse", f"{metric} of the answer; a line each: {', '.join(kinds)}", "severity", drawn, figures)
            )
    return tag("div", *charts, note("Only the named input is made worse, on held-out rows; severity 0 is the table as it is."))


def inputs(report: Found) -> Html:
    """Gaps a column; time and bytes an input."""
    rows, gaps, costs = report["made"]["rows"], [], []
    for key, one in report["inputs"].items():
        name = key.split(".", 1)[1]
        gaps += [(c, name, *(f"{n} ({n / rows:.1%})" for n in counts)) for c, counts in one["columns"].items()]
        own = [e for e in report["experts"] if e["inputs"] == [name]]
        spent = [number(sum((e[k] for e in own), 0.0)) for k in ("fit_cpu_seconds", "milliseconds_a_row")]
        costs.append((name, number(one["seconds"]), f"{one['bytes']:,}", *spent))
    missing = table(f"Cells of {rows} rows", ("column", "input", "missing", "unreadable"), gaps)
    head = ("input", "features, seconds", "features, bytes", "its own experts, CPU s", "its own experts, ms a row")
    told = note("Features that an earlier fit had stored cost no time. A missing or unreadable cell is masked; no row is dropped.")
    return tag("div", missing, table("What each input costs", head, costs), told)


def warned(report: Found) -> Html:
    """All that was said."""
    return table("Warnings", ("warning",), [(cut(text, 500),) for text in report["warnings"]]) if report["warnings"] else tag("p", "None.")


def again(report: Found) -> Html:
    """How to fit the same once more."""
    parts = ", ".join(f"{count} {part}" for part, count in report["parts"].items())
    lines = [*report["made"].items(), ("parts", parts), ("CPU seconds", number(report["cpu_seconds"]))]
    data = table("Made from, and with", ("what", "value"), [(what, "–" if value is None else value) for what, value in lines])
    job = replace(report["job"], table=None, media_root=())
    told = note("The hash is of the table alone, not of its media. Media that do not lie beside the table need --media-root too.")
    source = shlex.quote(report["made"]["table"]) if report["made"]["sha256"] else "TABLE"
    command, settings = (tag("pre", tag("code", text)) for text in (f"xmodal fit {source} --config job.toml", job.to_toml()))
    return tag("div", command, tag("details", tag("summary", "job.toml: every choice, written out"), settings), data, told)


SECTIONS: dict[str, Callable[[Found], Html]] = {
    "Verdict": subsets, "Experts and weights": experts, "Learning curves": learning, "Errors": errors, "Reliability": calibration,
    "Made worse": corruptions, "Examples": examples, "Missing, unreadable, cost": inputs, "Warnings": warned, "How to reproduce": again,
}  # fmt: skip


def page(model: Model, corruptions: Sequence[Found] = ()) -> str:
    """The whole page. `corruptions`: of `evaluate`."""
    report: Found = {**model.report, "corruptions": corruptions, "examples": model.examples, "job": model.job}
    title = f"{report['target']}: what was learnt, and whether mixing paid"
    links = tag("ul", *(tag("li", tag("a", name, href=f"#s{i}")) for i, name in enumerate(SECTIONS)))
    parts = [tag("section", tag("h2", name, id=f"s{i}"), draw(report)) for i, (name, draw) in enumerate(SECTIONS.items())]
    names: Sequence[str] = [i.name for i in model.answer.inputs.values()]
    top = tag("h1", title), tag("p", sentence(report["verdict"]), class_="verdict"), tag("p", f"Inputs: {cut(', '.join(names), 600)}")
    return whole(title, tag("header", *top), tag("nav", links, aria_label="Sections"), tag("main", *parts))


def inspected_page(found: Found) -> str:
    """What `inspect` found, as a page."""
    title, (tables, cost) = f"{found['rows']:,} rows: how they are read, and what to mind", inspected(found)
    parts = [tag("section", tag("h2", name), table(name, *drawn)) for name, drawn in tables.items()]
    return whole(title, tag("header", tag("h1", title), tag("p", cost)), tag("main", *parts))


def whole(title: str, *parts: Html) -> str:
    """A page that needs no network."""
    body = tag("body", *parts)
    policy = tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    view = tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    style = tag("style", Html(Path(__file__).with_name("style.css").read_text("utf-8")))
    head = tag("head", tag("meta", charset="utf-8"), policy, view, tag("title", title), style)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
