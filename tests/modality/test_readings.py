from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from xmodal.errors import ConfigError, TableError
from xmodal.job import Input, Job
from xmodal.media import Media
from xmodal.modality import inputs, readings
from xmodal.table import Table, read_table

NOWHERE = Media(())
ALL = Job()
WORDS = ["red", "green", "blue", "dark", "light", "old", "new", "big", "small", "round", "flat", "soft", "hard", "wet", "dry"]


def table(**columns: list[object]) -> Table:
    return Table(pa.table({name: pa.array(values) for name, values in columns.items()}), "test")


def kinds(data: Table, job: Job = ALL, media: Media = NOWHERE) -> dict[str, str]:
    return {name: reading.modality for name, reading in readings(data, job, media)[0].items()}


def test_kinds_of_plain_columns() -> None:
    n = 40
    data = table(
        number=[f"{i}.5" for i in range(n)],
        gaps=["NA", "null", "", *map(str, range(n - 3))],
        infinite=["inf", *map(str, range(n - 1))],
        date=[f"2024-01-{1 + i % 28:02}" for i in range(n)],
        padded=[f"{i % 7:03}" for i in range(n)],
        sex=["M", "F"] * 20,
        flag=["yes", ""] * 20,
        sentence=[" ".join(WORDS[(i + j * i) % 15] for j in range(6)) + f" {i}" for i in range(n)],
        title=[f"{WORDS[i % 15]} {WORDS[i // 3]}" for i in range(n)],
        truth=[i % 3 == 0 for i in range(n)],
        answer=["I fully agree with this statement", "I do not agree with it at all"] * 20,
        chinese=[f"这是第{chr(0x4E00 + i)}个句子" for i in range(n)],
    )
    got, said = readings(data, Job(), NOWHERE)
    assert not said
    assert {name: r.modality for name, r in got.items()} == {
        "number": "number", "gaps": "number", "infinite": "number", "date": "date", "padded": "category", "sex": "category",
        "flag": "category", "sentence": "text", "title": "text", "truth": "category", "answer": "category", "chinese": "text",
    }  # fmt: skip
    assert "'NA' counts as a gap (1 cells)" in got["gaps"].reason
    assert "'null' counts as a gap (1 cells)" in got["gaps"].reason


def test_words_that_spell_gaps_are_words_elsewhere() -> None:
    got = readings(table(region=["NA", "EU", "None", "null"] * 10, x=["1", "2", "oops", "3"] * 10), Job(), NOWHERE)[0]
    assert got["region"].modality == "category"
    assert got["region"].parse(pa.chunked_array([["NA", ""]]))[1].tolist() == [0, 1]
    assert got["x"].modality == "category"


def test_what_is_left_out_is_said() -> None:
    n = 30
    columns = table(
        id=list(range(n)), userId=[str(i + 5) for i in range(n)], code=[f"A-{i}x" for i in range(n)], rank=list(range(n)),
        part=["train", "test", "val"] * 10, same=["x"] * n, nothing=[""] * n, null=[None] * n, x=[i * i for i in range(n)],
        patient_id=[i // 2 for i in range(n)], y=[0, 1] * 15,
    )  # fmt: skip
    got, said = readings(columns, Job(target=("y",)), NOWHERE)
    assert list(got) == ["rank", "x", "patient_id"]
    assert "taken for a quantity" in got["rank"].reason
    assert [line.split("'")[1] for line in said] == ["id", "userId", "code", "part", "same", "nothing", "null"]
    assert "--split" in said[3]
    assert "names rows" in said[0]
    used, said = readings(columns, Job(target=("y",), use=("id", "part", "same", "x")), NOWHERE)
    assert list(used) == ["id", "part", "x"]  # --use keeps all but what nothing can be learnt from
    assert len(said) == 1


def test_roles_use_ignore_and_modality() -> None:
    cells = {"a": ["1", "2"], "b": ["u", "v"], "group": ["g", "h"], "part": ["train", "test"], "key": ["k1", "k2"], "y": ["n", "p"]}
    columns = table(**{name: two * 9 for name, two in cells.items()})
    job = Job(target=("y",), group="group", split="part", id=("key",))
    assert kinds(columns, job) == {"a": "number", "b": "category"}
    assert kinds(columns, Job(use=("b",))) == {"b": "category"}
    assert "b" not in kinds(columns, Job(ignore=("b",)))
    forced = readings(columns, Job(use=("a", "b"), modality={"a": "category", "b": "text"}), NOWHERE)[0]
    assert {n: (r.modality, r.reason) for n, r in forced.items()} == dict.fromkeys("ab", ("", "")) | {
        "a": ("category", "asked for by --modality"), "b": ("text", "asked for by --modality")
    }  # fmt: skip
    whole_group = Job(use=("a", "b", "y"), input={"g": "*"}, modality={"g": "category", "b": "text"})
    assert kinds(columns, whole_group) == {"a": "category", "b": "text", "y": "category"}
    for wrong, said in (
        (Job(modality={"table": "text"}), "column 'table'"),
        (Job(use=("aa",)), "did you mean 'a'"), (Job(ignore=("grop",)), "did you mean 'group'"), (Job(modality={"bb": "text"}), "'b'"),
        (Job(modality={"a": "imagee"}), "did you mean 'image'"), (Job(use=("y",), target=("y",)), "column to learn from"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            readings(columns, wrong, NOWHERE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "my photos").mkdir()
    for i in range(20):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "my photos" / f"red car {i:02} front view.png")
    return tmp_path


def test_pictures(photos: Path) -> None:
    names = [f"my photos/red car {i:02} front view.png" for i in range(22)]
    media = Media((photos,))
    got = readings(table(pic=names, raw=[Path(photos, names[i % 20]).read_bytes() for i in range(22)]), Job(), media)[0]
    assert {n: r.modality for n, r in got.items()} == {"pic": "image", "raw": "image"}
    assert got["pic"].reason == "20 of 22 sampled cells open as pictures"
    wrong, inside = Media((photos / "my photos",)), [f"[[[{i}, 0], [1, 2], [2, 3], [5, 4], [3, 3]]]" for i in range(22)]
    for given in (table(pic=names), table(pic=names, ink=inside, text=["a b c", "d"] * 11)):
        for job in (Job(), Job(modality={"pic": "image"})):
            with pytest.raises(TableError, match=r"column 'pic': none of the 22 tried is there, the first: /.*/red car 00.*--media-root"):
                readings(given, job, wrong)
    ids = table(pic=[f"no{i}" for i in range(22)], more=["1", "2"] * 11)
    with pytest.raises(TableError, match=r"column 'pic': none of the 22 tried is there, the first: .*no0"):
        readings(ids, Job(modality={"pic": "image"}), media)
    both = table(pic=names, source=[f"elsewhere/{i}.jpg" for i in range(22)])
    assert kinds(both, media=media) == {"pic": "image"}  # the folder is right: that column is left out, and said
    assert "none of the 22 tried is there" in readings(both, Job(), media)[1][0]
    links = table(ink=inside, source=[f"https://example.org/{i}.jpg" for i in range(22)])
    assert kinds(links, media=wrong) == {"ink": "strokes"}, "links are no paths"
    assert kinds(both, Job(modality={"source": "text"}), media) == {"pic": "image", "source": "text"}


@pytest.mark.parametrize("first", [7, 100])
def test_pictures_named_by_numbers_alone(tmp_path: Path, first: int) -> None:
    names = [f"{first + i:03}" for i in range(40)]
    for name in names:
        Image.new("RGB", (4, 4), (int(name), 0, 0)).save(tmp_path / name, "PNG")
    got = readings(table(pic=names, y=["a", "b"] * 20), Job(target=("y",)), Media((tmp_path,)))[0]
    assert got["pic"].modality == "image" and "40 of 40" in got["pic"].reason
    assert kinds(table(pic=names, y=["a", "b"] * 20), Job(use=("pic",))) == {"pic": "category" if first == 7 else "number"}


def test_numbers_beside_pictures_of_such_names_stay_numbers(tmp_path: Path) -> None:
    for i in range(9):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    rows = table(pic=[f"{i % 9}.png" for i in range(45)], size=[str(i % 9) for i in range(45)])
    got, said = readings(rows, Job(), Media((tmp_path,)))
    assert {n: r.modality for n, r in got.items()} == {"pic": "image", "size": "number"}
    assert any("'size': its numbers are names of files too" in note and "--modality size=image" in note for note in said)
    assert readings(rows, Job(modality={"size": "image"}), Media((tmp_path,)))[0]["size"].modality == "image"


RANDOM = np.random.default_rng(0).uniform(0, 100, 60)


@pytest.mark.parametrize("name", ["temp (°C)", "price [€]", "No", "row", "x_id", "lab key", "index", "%"])
def test_fractions_never_name_rows_whatever_their_column_is_called(name: str) -> None:
    for cells in (RANDOM.tolist(), [f"{x:.4f}" for x in RANDOM], [f"{x:.4f}".replace(".", ",") for x in RANDOM],
                  [f"<{x:.4f}" if i % 3 else f"{x:.4f}" for i, x in enumerate(RANDOM)]):  # fmt: skip
        assert name in readings(table(**{name: cells, "more": ["1", "2"] * 30}), Job(), NOWHERE)[0], cells[:3]


@pytest.mark.parametrize(("name", "kept"), [("x_id", False), ("row", False), ("#", False), ("size (cm)", True), ("no?", False)])
def test_whole_numbers_name_rows_where_the_name_says_so(name: str, kept: bool) -> None:
    for cells in (list(range(60)), [float(i) for i in range(60)], [str(i) for i in range(60)]):
        assert (name in readings(table(**{name: cells, "more": ["1", "2"] * 30}), Job(), NOWHERE)[0]) == kept


def test_nested_objects_are_an_error_that_says_what_to_do() -> None:
    for cells in ([{"k": 1}, {"k": 2}], [{"k": 1}, {"k": "x"}], [{"k": i} if i % 2 else {"m": [i]} for i in range(4)]):
        rows = read_table([{"c": cell, "more": i} for i, cell in enumerate(cells * 20)])
        for job in (Job(use=("c",)), Job(use=("c",), modality={"c": "text"})):
            with pytest.raises(ConfigError, match=r"got column 'c': nested objects .*json_normalize"):
                readings(rows, job, NOWHERE)
        assert "c" not in readings(rows, Job(ignore=("c",), use=("more",)), NOWHERE)[0]


def test_inputs() -> None:
    words = [f"some words and number {i}" for i in range(18)]
    columns = table(**{"a": ["1", "2"] * 9, "b*": ["1", "2"] * 9, "b1": ["u", "v"] * 9, "table": words})
    got = readings(columns, Job(), NOWHERE)[0]
    made = inputs(got, Job(encoder={"text": "bilstm", "columns": "plain"}))
    assert made == {
        "main.table": Input("main.table", "text", ("table",), (), "bilstm"),
        "main.columns": Input("main.columns", "table", ("a", "b*", "b1"), ("number", "number", "category"), "plain"),
    }
    assert inputs(got, Job(input={"g": "b*"}))["main.g"].columns == ("b*",)  # a column of just that name: no wildcard
    named = inputs(got, Job(input={"g": "b1", "rest": "*"}))
    assert [(i.name, i.columns) for i in named.values()] == [("table", ("table",)), ("g", ("b1",)), ("rest", ("a", "b*"))]
    wrongs = {"plain column": Job(input={"g": "c*"}), "another": Job(input={"table": "a"}), "mean 'text'": Job(encoder={"txt": "x"})}
    for said, wrong in wrongs.items():
        with pytest.raises(ConfigError, match=said):
            inputs(got, wrong)


@pytest.mark.real
def test_real_tables(xmodal_data: Path) -> None:
    wanted = {
        "covid_cxr": {"image": "image", "clinical_notes_masked": "text", "age": "number", "sex": "category", "view": "category",
                      "days_since_onset": "number", "temperature": "number", "pO2_saturation": "number", "leukocyte_count": "number",
                      "neutrophil_count": "number", "lymphocyte_count": "number"},
        "imdb_genre": {"Rank": "number", "Title": "text", "Description": "text", "Director": "text", "Actors": "text", "Year": "number",
                       "Runtime (Minutes)": "number", "Rating": "number", "Votes": "number", "Metascore": "number"},
        "tweets_sentiment": {"image": "image", "text": "text"},
        "fashion_products": {"image": "image", "title": "text", "gender": "category", "colour": "category"},
        "digits_video": {"video": "video"}, "ucf_clips_mini": {"video": "video"},
        "handwriting": {"image": "image", "strokes": "strokes"},
        "av_digits": {"image": "image", "audio": "audio", "speaker": "category", "duration_s": "number", "label": "number"},
    }  # fmt: skip
    for name, columns in wanted.items():
        data = read_table(xmodal_data / name / "data.csv")
        got = kinds(data, Job(), Media((xmodal_data / name,)))
        assert {c: got.get(c) for c in columns} == columns
        assert not {"id", "split", "mnist_source", "source_file", "split_0"} & set(got)


def test_reviews_without_spaces_are_text() -> None:
    reviews = [f"质量很好,非常满意第{i}次" for i in range(60)]
    found, _ = readings(Table(pa.table({"评论": reviews, "城市": ["北京", "上海", "广州"] * 20}), "here"), Job(), Media(()))
    assert (found["评论"].modality, found["城市"].modality) == ("text", "category")
