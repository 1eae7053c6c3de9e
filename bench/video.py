"""digits_video: the direction from the clip, whether the digit shown is the one spoken; ucf_clips_mini: every real clip opens."""

from collections.abc import Mapping

from bench.common import SEEDS, Row, at_least, data, error_of, look, mean
from xmodal import Learner
from xmodal.errors import MediaError
from xmodal.media import Media, attempt
from xmodal.modality.audio import Audio
from xmodal.modality.video import Video
from xmodal.table import read_table

CASES: tuple[tuple[str, str, float], ...] = (("direction", "video", 0.99), ("av_match", "video+audio", 0.87))


def run(seeds: tuple[int, ...] = SEEDS) -> list[Row]:
    return [*(learnt(target, how, wanted, seeds) for target, how, wanted in CASES), *real()]


def learnt(target: str, how: str, wanted: float, seeds: tuple[int, ...]) -> Row:
    """Mean test accuracy of the answer."""
    found: list[Mapping[str, object]] = []
    for seed in seeds:
        roles = {"use": ["video"], "modality": {"video": how}, "split": "split", "metric": "accuracy", "seed": seed}
        found.append(Learner(target=target, **roles).fit(data("digits_video")).report["answer"]["test"])
        look(f"digits_video {target} from {how}", seed, found[-1]["metrics"]["accuracy"])
    figures = [one["metrics"]["accuracy"] for one in found]
    protocol = f"given split, mean of {len(seeds)} seeds"
    return at_least(
        f"digits_video {target} from {how}, accuracy", mean(figures), wanted, protocol, error_of(found[0]["ci95"]["accuracy"]), figures
    )


def real() -> list[Row]:
    """Of 18 clips of UCF101 how many open, and of how many the sound, where the table says that there is some."""
    path = data("ucf_clips_mini")
    table, media = read_table(path).data, Media((path.parent,))
    names, heard = table["video"].to_pylist(), [str(word) == "1" for word in table["has_audio"].to_pylist()]
    films = [attempt(lambda name: Video().open(name, media).load(size=64).shape, name) for name in names]
    sounds = [attempt(lambda name: Audio().open(name, media).load().size, name) for name in names]
    good = sum(one == (16, 64, 64, 3) for one in films)
    right = sum(isinstance(one, MediaError) != there for one, there in zip(sounds, heard, strict=True))
    return [
        at_least("ucf_clips_mini: clips decoded", good, len(names), f"{len(names)} real clips", detail=[str(f) for f in films]),
        at_least("ucf_clips_mini: sound just where there is some", right, len(names), f"{sum(heard)} clips with sound"),
    ]
