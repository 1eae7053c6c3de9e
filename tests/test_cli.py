"""The command line against a learner that only records what it is asked; the whole way is in tests/end_to_end."""

import csv
import dataclasses
import io
import json
import re
import resource
import shlex
import subprocess
import sys
import tomllib
import types
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from xmodal import cli
from xmodal.encoders import ENCODERS
from xmodal.errors import TargetError
from xmodal.experts import EXPERTS
from xmodal.features import Spec, Store
from xmodal.fusion import FUSIONS
from xmodal.job import Input, Job
from xmodal.modality import MODALITIES
from xmodal.table import Reading, Table

IDS = ["007", 'a "quoted" one', "two\nlines", " padded ", "ünï,code"]
SUBSETS = [
    {"inputs": ["[b]picture"], "metrics": {"roc_auc": 0.5}, "ci95": {"roc_auc": [0.4, 0.6]}},
    {"inputs": ["table"], "metrics": {"roc_auc": 0.5}, "ci95": {"roc_auc": [0.4, 0.6]}},
    {
        "inputs": ["[b]picture", "table"],
        "metrics": {"roc_auc": 0.9},
        "ci95": {"roc_auc": [0.8, 1.0]},
        "gain": 0.4,
        "gain_ci95": [0.3, 0.5],
        "best_single": "table",
    },
]
VERDICT = {"outcome": "pays", "metric": "roc_auc", "gain": 0.4, "ci95": [0.3, 0.5], "best_single": "table", "rows": 99}
SCORES = {
    "rows": 5,
    "part": "all",
    "targets": {"label": {"task": "classify", "n": 5, "metrics": {"roc_auc": float("nan")}, "ci95": {"roc_auc": None}}},
    "warnings": ["undefined"],
}


class Recorder:
    """As much of a Learner as the command line sees."""

    made: ClassVar[list] = []
    fails: BaseException | None = None
    classes: ClassVar = ["no", "yes"]

    def __init__(self, **roles):
        self.job = Job.from_json(roles)
        inputs = {f"main.{n}": Input(f"main.{n}", n, (n,)) for n in ("picture", "table")}
        answer = types.SimpleNamespace(task=types.SimpleNamespace(name="label"), inputs=inputs)
        self.model = types.SimpleNamespace(answer=answer, readings={n: Reading(n, "number") for n in ("picture", "x", "y")})
        self.made.append(self)

    def read(self, source, new):
        return source

    def fit(self, source, progress, folder, resume):
        assert isinstance(source, Table), "a table is read once"
        progress("train table.linear", 0, 2)
        if self.fails:
            raise self.fails
        self.report = {"warnings": ["odd"], "verdict": VERDICT, "subsets": SUBSETS, "parts": {"train": 3, "val": 0, "test": 2}}

    def crossval(self, source, folds, progress):
        assert isinstance(source, Table), "a table is read once"
        progress("fold 1", 0, folds)
        return SCORES | {"part": "out_of_fold", "verdict": VERDICT, "subsets": SUBSETS, "folds": folds}

    def evaluate(self, source, part, progress, corrupt):
        progress("extract", 1, 1)
        return SCORES | {"part": part or "all"}

    def save(self, folder, force):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(bytes(1_500_000))

    @classmethod
    def load(cls, folder):
        return cls(target="label", id=["id"], media_root=["kept"], sheet="kept")

    def outcomes(self, source, progress):
        assert isinstance(source, Table), "a table is read once"
        score = np.array([[0.75, 0.25]] * 3 + [[0.1, 0.9]] * 2)[-source.data.num_rows :]
        lost = {"price": np.array([2]), "pic": np.array([1, 2])} if "broken" in source.data.column_names else {}
        return types.SimpleNamespace(score=score), ["column 'pic', row 2: unreadable"][: source.data.num_rows - 1], lost

    def embeddings(self, source, progress):
        assert isinstance(source, Table), "a table is read once"
        return np.zeros((source.data.num_rows, 2), np.float32), ["column 'pic': 2 of 5 cells are missing"]

    def intervals(self, score):
        return {"set": np.array(["no;yes"] * len(score))}

    def decide(self, score):
        return np.array(self.classes, object)[score.argmax(1)] if self.classes else score[:, 1]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command in an empty folder with table.csv in it, and gives exit code, stdout, stderr."""
    fake = types.ModuleType("xmodal.learner")
    fake.Learner, fake.check_free = Recorder, lambda folder, force: None
    monkeypatch.setitem(sys.modules, "xmodal.learner", fake)
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setenv("XMODAL_DEBUG", "0")  # and put back what --debug sets
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "table.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [[i, number, "a", "yes"] for number, i in enumerate(IDS)]
        csv.writer(file).writerows([["id", "x", "a=b", "label"], *rows])

    def go(*arguments: str, stdin: str | None = None):
        return CliRunner().invoke(cli.app, list(arguments), input=stdin)

    return go


def job(run, *options: str) -> Job:
    found = run("fit", "table.csv", "--out", "m", *options)
    assert found.exit_code == 0, found.stderr
    return Recorder.made[-1].job


def test_every_role_reaches_the_job(run):
    plain = "--group x --split x --fusion mean --metric accuracy --seed 3 --device cpu --id id --id x --use x --ignore a=b"
    found = job(run, "--target", "label", *plain.split(), "--media-root", "here", "--media-root", "there")
    assert found == Job(
        table="table.csv", out="m", target=("label",), group="x", split="x", fusion="mean", metric="accuracy", seed=3, device="cpu",
        id=("id", "x"), use=("x",),
        ignore=("a=b",), media_root=("here", "there"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "target", "kind"),
    [("label", "label", None), ("label=regress", "label", "regress"), ("a=b", "a=b", None), ("a=b=classify", "a=b", "classify")],
)
def test_a_target_is_divided_behind_the_longest_column(run, given, target, kind):
    found = job(run, "--target", given)
    assert (found.target, found.kind) == ((target,), kind)


def test_several_targets_are_of_one_kind(run):
    found = job(run, "--target", "label=multilabel", "--target", "a=b=multilabel", "--weight", "x", "--time", "id", "--positive", "yes")
    assert (found.target, found.kind) == (("label", "a=b"), "multilabel")
    assert (found.weight, found.time, found.positive) == ("x", "id", "yes")
    wrong = run("fit", "table.csv", "--out", "n", "--target", "label=multilabel", "--target", "x")
    assert wrong.exit_code == 2 and "all of kind multilabel" in wrong.stderr


def test_a_target_of_the_configuration_may_be_one_name_and_costs_a_table(run, tmp_path):
    (tmp_path / "job.toml").write_text("target = 'label'\n[cost]\nyes = {no = 5}\n")
    found = job(run, "--config", "job.toml")
    assert found.target == ("label",) and json.loads(found.cost) == {"yes": {"no": 5}}


def test_names_before_an_equals_sign(run):
    encoders = "--encoder size=plain --encoder text=bilstm --encoder a=b=cnn"
    found = job(run, *f"--target label --input size=x*=y --modality a=b=category {encoders}".split())
    assert found.input == {"size": "x*=y"} and found.modality == {"a=b": "category"}
    assert found.encoder == {"size": "plain", "text": "bilstm", "a=b": "cnn"}


def test_an_unknown_name_is_the_users_error_and_names_the_nearest(run):
    found = run("fit", "table.csv", "--target", "lable=classify", "--out", "m")
    assert found.exit_code == 1 and "'label'" in found.stderr.splitlines()[2] and not found.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "table.csv", "--out", "m"],
        ["fit", "--target", "label"],
        ["fit", "table.csv", "--target", "label", "--out", "m", "--modality", "x"],
        ["crossval", "table.csv", "--target", "label", "--folds", "1"],
        ["predict", "m", "--out", "p.csv"],
        ["learn"],
    ],
)
def test_wrong_usage_is_2(run, arguments):
    found = run(*arguments, stdin="{}")
    assert found.exit_code == 2 and "Usage" in found.stderr and "Traceback" not in found.stderr


FAILURES = [
    (TargetError("two classes", "one in column 'label'", "label more rows"), 1, ["expected: two classes", "got: ", "do: "]),
    (PermissionError(13, "Permission denied", "m/config.json"), 1, ["Permission denied: m/config.json"]),
    (KeyboardInterrupt(), 130, ["interrupted"]),
    (RuntimeError("shape of a tensor"), 3, ["RuntimeError: shape of a tensor", "report"]),
]


@pytest.mark.parametrize(("failure", "code", "parts"), FAILURES)
def test_exit_codes(run, monkeypatch, failure, code, parts):
    monkeypatch.setattr(Recorder, "fails", failure)
    found = run("fit", "table.csv", "--target", "label", "--out", "m")
    assert found.exit_code == code and all(p in found.stderr for p in parts)
    assert "Traceback" not in found.stderr and not found.stdout
    monkeypatch.setenv("XMODAL_DEBUG", "1")
    assert "Traceback" in run("fit", "table.csv", "--target", "label", "--out", "m").stderr


def test_fit_ends_with_the_verdict_and_commands_ready_to_paste(run, tmp_path):
    (tmp_path / "table.csv").rename(tmp_path / "my table's.csv")
    found = run("fit", "my table's.csv", "--target", "label", "--out", "new folder/m")
    assert found.exit_code == 0 and "train table.linear" in found.stderr and "warning: odd" in found.stderr
    lines = found.stdout.splitlines()
    assert shlex.split(lines[-2]) == ["xmodal", "evaluate", "new folder/m", "my table's.csv", "--part", "test"]
    assert shlex.split(lines[-1]) == ["xmodal", "predict", "new folder/m", "my table's.csv", "--out", "predictions.csv"]
    assert "(1.5 MB)" in lines[-3] and "Verdict: pays: +0.4 [+0.3, +0.5] over table alone, 99 rows" in lines
    assert any("[b]picture " in line for line in lines), "names are no markup"
    assert any("all inputs " in line and "+0.4 [+0.3, +0.5] over table" in line for line in lines)


def test_the_configuration_is_the_whole_job(run, tmp_path):
    roles = ("--target", "label=classify", "--id", "id", "--modality", "x=number", "--seed", "3")
    shown = run("config", "table.csv", *roles)
    assert shown.exit_code == 0, shown.stderr
    values = tomllib.loads(shown.stdout)
    assert Job.from_json(values).to_json() == {**Job.from_json(values).to_json(), **values}, "every value is one of the job's"
    assert {f.name for f in dataclasses.fields(Job)} - values.keys() == set(
        re.findall("^# ([a-z_]+) = .none.$", shown.stdout, re.MULTILINE)
    )
    (tmp_path / "job.toml").write_text(shown.stdout, "utf-8")
    assert run("fit", "--config", "job.toml", "--out", "m").exit_code == 0 and Recorder.made[-1].job == replace(
        Job.from_json(values), out="m"
    )
    settings = ["training.epochs=3", "training.raw.rate=0.5", "seed=7", "modality.a.b=text", "use=x", "group=1"]
    found = run("fit", "--config", "job.toml", "--seed", "8", *(w for s in settings for w in ("--set", s)))
    assert found.exit_code == 0, found.stderr
    made = Recorder.made[-1].job
    assert made.seed == 8 and made.modality == {"x": "number", "a.b": "text"} and made.use == ("x",) and made.group == "1"
    assert [made.training.descriptor.epochs, made.training.raw.epochs, made.training.raw.rate] == [3, 3, 0.5]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["training.epoch=3"], "did you mean 'epochs'?"),
        (["training.epochs=many"], "expected: int for setting 'epochs'\ngot:      'many'"),
        (["sed=3"], "did you mean 'seed'?"),
        (["modality=3"], "for setting 'modality'"),
        (["seed=3", "seed.more=1"], "expected: int for setting 'seed'"),
    ],
)
def test_wrong_settings_are_named(run, settings, says):
    found = run("fit", "table.csv", "--target", "label", "--out", "m", *(w for s in settings for w in ("--set", s)))
    assert found.exit_code == 1 and says in found.stderr


def test_a_configuration_that_is_no_toml_is_named_with_its_line(run, tmp_path):
    (tmp_path / "job.toml").write_text("target = 'label'\nseed = = 3\n")
    found = run("fit", "--config", "job.toml")
    assert found.exit_code == 1 and "line 2" in found.stderr and "job.toml" in found.stderr


def test_lists_have_a_line_each(run):
    for kind, names in (("fusions", FUSIONS), ("encoders", ENCODERS), ("experts", EXPERTS), ("modalities", MODALITIES)):
        found = run("list", kind)
        assert [line.split()[0] for line in found.stdout.splitlines()] == sorted(names)
        assert all(len(line.split()) > 3 for line in found.stdout.splitlines())
    corruptions = {f"{m}={name}" for m, one in MODALITIES.items() for name in getattr(one, "corruptions", {})}
    assert {line.split()[0] for line in run("list", "corruptions").stdout.splitlines()} == corruptions > {"number=unit", "text=typos"}
    assert "(Devlin et al. 2019)" in run("list", "fusions").stdout
    assert "'fusions'" in run("list", "fusion").stderr


def test_stored_features_are_counted_checked_and_deleted(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    spec, store = Spec("hog", 1, "pillow", "{}"), Store()
    store.add(spec, np.array([b"a", b"b"], "S32"), {"x": np.ones((2, 3))})
    store.add(spec, np.array([b"c"], "S32"), {"x": np.ones((1, 3))})
    assert "3 cells" in run("cache", "size").stdout and "0 damaged" in run("cache", "verify").stdout
    pack = next(p for p in tmp_path.glob("features/*/pack-*/x.npy") if p.stat().st_size < 160)
    pack.write_bytes(pack.read_bytes()[:-1] + b"!")
    assert "1 damaged" in run("cache", "verify").stdout and Store().has(spec, np.array([b"a", b"c"], "S32")).tolist() == [True, False]
    assert run("cache", "clear").exit_code == 0 and not store.sizes()
    assert run("cache", "wipe").exit_code == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"x": 1', "'{\"x\": 1' in line 1 of standard input, no JSON from character 8 on"),
        ("", "'' in line 1 of standard input"),
        ("[1]", "a list on standard input"),
        ('{"x": 1}\n{"x": 2}', "'{\"x\": 2}' in line 2 of standard input"),
        ("\udcff", "line 1 of standard input"),
    ],
)
def test_a_row_that_is_no_json_is_shown(run, given, said):
    found = run("predict", "m", stdin=given.encode(errors="surrogateescape"))
    assert found.exit_code == 1 and said in found.stderr and "do:" in found.stderr


def test_json_stands_alone(run):
    for command in (["evaluate", "m", "table.csv", "--part", "test"], ["crossval", "table.csv", "--target", "label", "--folds", "3"]):
        found = run(*command, "--json")
        result = json.loads(found.stdout)
        assert found.exit_code == 0 and found.stderr
        assert result["targets"]["label"]["metrics"] == {"roc_auc": None} and result["warnings"] == ["undefined"]
    assert result["folds"] == 3 and result["verdict"]["outcome"] == "pays"


def test_scores_as_tables(run):
    found = run("crossval", "table.csv", "--target", "label")
    assert found.exit_code == 0 and "label: 5 rows (out_of_fold)" in found.stdout and "Verdict: pays" in found.stdout
    assert "warning: undefined" in found.stderr


def test_predictions_keep_ids_and_order(run, tmp_path):
    expected = [[i, "no", "0.75", "0.25"] for i in IDS[:3]] + [[i, "yes", "0.1", "0.9"] for i in IDS[3:]]
    header = ["id", "label", "probability_no", "probability_yes"]
    assert run("predict", "m", "table.csv", "--proba", "--out", "p.csv").exit_code == 0
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [header, *expected]
    shown = run("predict", "m", "table.csv", "--proba")
    assert list(csv.reader(io.StringIO(shown.stdout, newline=""))) == [header, *expected]
    assert "warning: column 'pic', row 2: unreadable" in shown.stderr
    assert run("predict", "m", "table.csv", "--out", "p.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "p.parquet").to_pydict() == {"id": IDS, "label": ["no"] * 3 + ["yes"] * 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.csv", "p.parquet", "table.csv"]


def test_rows_that_rest_on_unreadable_cells_are_flagged(run, tmp_path):
    parquet.write_table(pa.table({"id": IDS, "broken": IDS}), tmp_path / "t.parquet")
    assert run("predict", "m", "t.parquet", "--out", "p.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "p.parquet")["unreadable"].to_pylist() == ["", "pic", "pic;price", "", ""]


def test_a_spreadsheet_runs_no_cell(run, tmp_path):
    ids = ["=1+1", "-5", "+cmd|x", "@sum", "-1e3"]
    parquet.write_table(pa.table({"id": ids}), tmp_path / "t.parquet")
    found = run("predict", "m", "t.parquet", "--out", "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", "'=1+1", "-5", "'+cmd|x", "'@sum", "-1e3"]
    assert "3 cells of 'id' begin like formulas" in found.stderr
    assert run("predict", "m", "t.parquet", "--out", "p.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "p.parquet")["id"].to_pylist() == ids


def test_intervals_stand_beside_the_prediction(run):
    lines = run("predict", "m", "table.csv", "--intervals").stdout.splitlines()
    assert lines[0] == '"id","label","set"' and lines[1].endswith('"no;yes"')


def test_ids_keep_their_type(run, tmp_path):
    rows = pa.table({"id": pa.array([3, 1, 2, None, 2**62], pa.int64()), "x": [0.0] * 5, "y": [1.0] * 5})
    parquet.write_table(rows, tmp_path / "t.parquet")
    assert run("predict", "m", "t.parquet", "--out", "p.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "p.parquet")["id"].equals(rows["id"])


def test_a_row_from_standard_input(run):
    found = run("predict", "m", "--proba", stdin='{"id": 7, "x": 1, "y": null}')
    assert json.loads(found.stdout) == {"id": 7, "label": "yes", "probability_no": 0.1, "probability_yes": 0.9}
    assert found.exit_code == 0 and "warning" not in found.stderr
    typo = run("predict", "m", stdin='{"id": 7, "pictur": "a.png"}')
    assert typo.exit_code == 0 and "column 'pictur' is not read: the model reads 'picture', " in typo.stderr


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_what_is_no_row_is_the_users_error(run, text):
    found = run("predict", "m", stdin=text)
    assert found.exit_code == 1 and "JSON object" in found.stderr and not found.stdout


def test_impossible_outputs_are_refused_before_work(run, monkeypatch):
    assert "one of these endings" in run("predict", "m", "table.csv", "--out", "p.xlsx").stderr
    monkeypatch.setattr(Recorder, "classes", None)
    assert run("predict", "m", "table.csv", "--proba").exit_code == 1
    assert run("predict", "nowhere", "nothing.csv").exit_code == 1


@pytest.mark.parametrize("command", [["evaluate"], ["predict"], ["embed", "--out", "z.npy"]], ids=lambda c: c[0])
def test_a_model_reads_as_at_its_fit_or_as_it_is_told(run, tmp_path, command):
    (tmp_path / "german.csv").write_bytes("id,x\n1,Zürich\n2,Köln\n".encode("cp1252"))
    words = [command[0], "m", "german.csv", *command[1:]]
    found = run(*words, "--encoding", "cp1252", "--media-root", "here", "--media-root", "there", "--sheet", "Two")
    assert found.exit_code == 0, found.stderr
    job = Recorder.made[-1].job
    assert (job.encoding, job.media_root, job.sheet) == ("cp1252", ("here", "there"), "Two")
    if command != ["evaluate"]:
        assert "--encoding" in run(*words).stderr
    run(command[0], "m", "table.csv", *command[1:])
    job = Recorder.made[-1].job
    assert (job.encoding, job.media_root, job.sheet) == (None, ("kept",), "kept")


def test_demo_says_how_to_learn_from_it(run, tmp_path):
    found = run("demo", "--out", "d", "--rows", "40")
    assert found.exit_code == 0 and (tmp_path / "d/table.csv").is_file()
    assert run(*shlex.split(found.stdout.splitlines()[-1])[1:]).exit_code == 0


def test_debug_shows_tracebacks(run):
    assert run("--debug", "predict", "m", stdin="{").stderr.startswith("Traceback")


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_start_is_quick():
    assert min(cpu_seconds("-m", "xmodal", "--help") for _ in range(3)) < 0.4
    empty = min(cpu_seconds("-c", "") for _ in range(3))
    assert min(cpu_seconds("-c", "import xmodal") for _ in range(3)) - empty < 0.05
