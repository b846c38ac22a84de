"""Ablations of days made small: eight people, a tiny network, two updates."""

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("matplotlib", reason="needs the extra train")

from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from reid_runtime.errors import DatasetError
from reid_runtime.images.resize import LongestSide, resize
from reid_runtime.scoring.labels import Labels
from reid_runtime.scoring.ranking import score
from training.ablation.command import ablate as main
from training.ablation.factors import FactorError
from training.ablation.study import AblationError
from training.models.backbones import BACKBONES
from training.models.base import BackboneError
from training.models.frozen import FixedPartError
from training.run.checkpoint import read_checkpoint
from training.run.entry import run_stage
from training.run.trainer import TrainingError
from training.stages.ranking import RankingStage

from ..folders import write_people
from ..tiny import TINY

RECIPE = """
seed = 5
[network]
backbone = "tiny"
dimension = 8
size = 32
[classification]
epochs = 4
batch = 12
warmup_epochs = 2.0
[ranking]
updates = 8
halve_every = 4
triplets = 4
learning_rate = 0.3
triplets_together = 4
mining = { pool = 20, hardest = 5 }
"""
CHOICES = ("--factor", "pooling", "--factor", "pre-training", "--factor", "mining")
BUDGET = ("--updates", 2, "--classification-epochs", 2, "--seeds", 2, "--held-out", 0.375)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), 8, tint=30)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The recipe's file, and weights in ImageNet's place."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "small.toml").write_text(RECIPE)
    torch.manual_seed(0)
    trunk = TINY.build()
    with torch.no_grad():
        trunk(torch.randn(16, 3, 64, 32))  # statistics of something, or every image gives one vector
    save_file(trunk.state_dict(), folder / "imagenet.safetensors")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small(quiet, monkeypatch, tiny_backbone):
    """The tiny backbone, and no plots, which take longer than the training."""
    monkeypatch.setattr("training.ablation.report.write_plot", lambda path, tables, title: None)


def arguments(prepared, people, out, *more, budget=BUDGET, choices=CHOICES, weights=None):
    common = ("--weights", weights or prepared / "imagenet.safetensors", "--terms", "drawn", "--device", "cpu")
    return [str(one) for one in (prepared / "small.toml", people, "-o", out, *choices, *budget, *common, *more)]


def ablate(*given, **named):
    result = CliRunner().invoke(main, arguments(*given, **named), catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def whole(people, prepared, tmp_path_factory):
    """An ablation without interruption; only to be looked at."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(BACKBONES, TINY.name, TINY)
        monkeypatch.setattr("training.run.trainer.write_plots", lambda folder: None)
        folder = tmp_path_factory.mktemp("whole")
        result = ablate(prepared, people, folder)
    assert result.exit_code == 0, result.output
    return folder


def report(folder):
    """The raw numbers, without the code's version."""
    return {name: value for name, value in json.loads((folder / "report.json").read_text()).items() if name != "code"}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_variant_is_run_with_every_seed_and_classification_is_shared_where_it_is_the_same(whole):
    assert [name for name in names(whole) if name.startswith("seed")] == ["seed-5", "seed-6"]
    for seed in ("seed-5", "seed-6"):
        assert names(whole / seed / "ranked") == ["baseline", "mining-random", "pooling-average", "pre-training-no"]
        # Not mining's, which comes after it; not that of no pre-training, which has none.
        assert names(whole / seed / "classified") == ["baseline", "pooling-average"]
    starts = {
        label: read_checkpoint(whole / "seed-5" / "ranked" / label / "model.safetensors").trained_on
        for label in ("baseline", "mining-random", "pooling-average", "pre-training-no")
    }
    assert {(seen[0].identities, seen[0].crops) for seen in starts.values()} == {(5, 20)}, "three of eight are held out"
    recipes = {
        seed: read_checkpoint(whole / f"seed-{seed}" / "ranked" / "mining-random" / "model.safetensors").recipe
        for seed in (5, 6)
    }
    assert [recipe.seed for recipe in recipes.values()] == [5, 6]
    ranking = recipes[5].ranking
    assert (ranking.updates, ranking.halve_every, ranking.mining.hardest) == (2, 1, 0), "the schedule shrinks alike"
    assert (recipes[5].classification.epochs, recipes[5].classification.warmup_epochs) == (2, 1.0)


def test_start_of_each_ranking(people, prepared, tmp_path, small, monkeypatch):
    seen = {}

    def noted(kind, crops, recipe, job):
        if kind.command == "rank":
            seen[job.out.name] = (job.weights, job.start)
        return run_stage(kind, crops, recipe, job)

    monkeypatch.setattr("training.ablation.study.run_stage", noted)
    ablate(prepared, people, tmp_path, budget=(*BUDGET[:4], "--seeds", 1, *BUDGET[6:]))
    classified = tmp_path / "seed-5" / "classified"
    assert seen == {
        "baseline": (None, classified / "baseline" / "model.safetensors"),
        "mining-random": (None, classified / "baseline" / "model.safetensors"),
        "pooling-average": (None, classified / "pooling-average" / "model.safetensors"),
        "pre-training-no": (prepared / "imagenet.safetensors", None),
    }


def test_the_report_is_of_the_scores_that_were_kept(whole):
    raw = report(whole)
    assert raw["seeds"] == [5, 6]
    assert (raw["scored_on"], raw["test_scorings"]) == ("held-out", 0)
    kept = {}
    for label in ("baseline", "mining-random"):
        for seed in (5, 6):
            with np.load(whole / f"seed-{seed}" / "ranked" / label / "scores.npz") as file:
                assert len(np.unique(file["identities"])) == 3
                kept[label, seed] = file["ap_finite_sum"].mean()
    random = next(row for row in raw["factors"]["mining"] if row["variant"] == "random")
    assert [run["map_finite_sum"] for run in random["runs"]] == [kept["mining-random", seed] for seed in (5, 6)]
    expected = np.mean([kept["mining-random", seed] - kept["baseline", seed] for seed in (5, 6)])
    difference = random["differences"]["map_finite_sum"]
    assert difference["value"] == pytest.approx(expected)
    low, high = difference["people_and_seeds"]
    assert low < expected < high
    assert not difference["real"], "two seeds are too few"
    assert random["direction_holds"] == "not resolved"
    text = (whole / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| average |"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[5:] == ["80.1 / 71.4", "-1.1 / -1.5, worse", "not resolved"]
    assert cells[1].startswith(
        f"{100 * np.mean([run['map_finite_sum'] for run in raw['factors']['pooling'][0]['runs']]):.1f} ± "
    )
    assert "| max (baseline) |" in text
    assert "3 people of the training split on whom no run was trained" in text
    with Image.open(whole / "differences.png") as plot:
        colours = set(map(tuple, np.asarray(plot.convert("RGB")).reshape(-1, 3).tolist()))
    assert {(0xC0, 0x39, 0x2B), (0x7F, 0x8F, 0xA6)} <= colours, "the paper's marks and our intervals"


class Killed(BaseException):
    """Ends the ablation as a kill does: nothing catches it, nothing is saved on its way."""


def test_a_killed_ablation_goes_on_and_repeats_nothing(whole, people, prepared, tmp_path, small, monkeypatch):
    accumulate, count = RankingStage.accumulate, 0

    def dying(stage, triplets, update):
        nonlocal count
        count += 1
        if count == 6:  # the second update of the third ranking
            raise Killed
        return accumulate(stage, triplets, update)

    often = ("--checkpoint-minutes", 0)
    monkeypatch.setattr(RankingStage, "accumulate", dying)
    with pytest.raises(Killed):
        ablate(prepared, people, tmp_path, *often)
    ranked = tmp_path / "seed-5" / "ranked"
    done = {path: path.stat().st_mtime_ns for path in ranked.glob("*/scores.npz")}
    assert len(done) == 2
    assert not (tmp_path / "report.json").exists()
    monkeypatch.setattr(RankingStage, "accumulate", accumulate)
    resumed = ablate(prepared, people, tmp_path, *often)
    assert resumed.exit_code == 0
    assert "resumed at update 1 of 2" in resumed.output
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert report(tmp_path) == report(whole)
    digests = [
        [read_checkpoint(path).weights_digest for path in sorted(folder.glob("seed-*/*/*/model.safetensors"))]
        for folder in (tmp_path, whole)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 12, "no two runs are one"
    assert not list(tmp_path.glob("seed-*/*/*/last.safetensors")), "what is done is not kept twice"


def test_it_grows_by_seeds_and_factors_and_nothing_else(people, prepared, tmp_path, small):
    one = (*BUDGET[:4], "--seeds", 1, *BUDGET[6:])
    mining, flip = ("--factor", "mining"), ("--factor", "augmentation")
    ablate(prepared, people, tmp_path, budget=one, choices=mining)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed-*/ranked/*/scores.npz")}
    ablate(prepared, people, tmp_path, budget=BUDGET, choices=(*mining, "--factor", "pooling"))
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert len(list(tmp_path.glob("seed-*/ranked/*/scores.npz"))) == 6
    for other, budget in (
        ("ranking.updates", ("--updates", 3, *BUDGET[2:])),
        ("classification.epochs", (*BUDGET[:2], "--classification-epochs", 3, *BUDGET[4:])),
        ("seeds, 2", one),
        ("scored_on", (*BUDGET[:6], "--held-out", 0.5)),
    ):
        with pytest.raises(AblationError, match=f"another recipe, budget or data .*{other}"):
            ablate(prepared, people, tmp_path, budget=budget, choices=flip)
    save_file(TINY.build().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(AblationError, match=r"weights\.tiny"):
        ablate(prepared, people, tmp_path, weights=tmp_path / "other.safetensors")
    write_people(tmp_path / "more", 9, tint=30)
    with pytest.raises(AblationError, match="data"):
        ablate(prepared, tmp_path / "more", tmp_path)
    assert not list(tmp_path.glob("seed-*/ranked/augmentation*")), "nothing was trained meanwhile"


def test_on_test_everybody_is_trained_on_and_query_and_gallery_are_scored_once_a_run(prepared, tmp_path, small):
    data = tmp_path / "data"
    for split, views in (("train", 2), ("query", 1), ("gallery", 2)):
        write_people(data / split, 4, views=views, tint=30)
    choices = ("--factor", "mining")
    result = ablate(prepared, data, tmp_path / "out", "--on", "test", choices=choices)
    assert result.exit_code == 0, result.output
    raw = report(tmp_path / "out")
    assert (raw["test_scorings"], raw["data"]["people"]) == (4, 4)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "have been scored 4 times" in text
    ranked = tmp_path / "out" / "seed-6" / "ranked" / "mining-random"
    network = read_checkpoint(ranked / "model.safetensors").network()

    def embedded(split):
        vectors, people, cameras = [], [], []
        for path in sorted((data / split).rglob("*.png")):
            image = np.asarray(Image.open(path))
            shown = resize(image, LongestSide(32).shape(*image.shape[:2]))
            with torch.inference_mode():
                vectors.append(network(torch.from_numpy(shown[None].copy())).numpy()[0])
            people.append(int(path.parts[-3][-1]) + 1)
            cameras.append(int(path.parts[-2][-1]) + 1)
        return np.stack(vectors), Labels(np.array(people), np.array(cameras))

    expected = score(*embedded("query"), *embedded("gallery"))
    with np.load(ranked / "scores.npz") as file:
        np.testing.assert_allclose(file["ap_finite_sum"], expected.ap_finite_sum)
        assert int(file["gallery"]) == expected.gallery == 16


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        (("--factor", "poling"), FactorError, "did you mean 'pooling'"),
        (("--factor", "backbone"), AblationError, "no weights for 'resnet50'.*--weights resnet50=FILE"),
        (("--factor", "backbone", "--backbone", "resnet-18"), BackboneError, "did you mean 'resnet18'"),
        (("--held-out", "0.1"), TrainingError, "raise --held-out"),
        (("--on", "test"), DatasetError, "no query and gallery besides"),
        (("--weights", "tinny=x"), BackboneError, "no backbone is called 'tinny'; did you mean 'tiny'"),
        (
            ("--factor", "backbone", "--backbone", "resnet18", "--weights", "resnet18={}"),
            BackboneError,
            r"lacks .* of resnet18's tensors",
        ),
    ],
)
def test_impossible_ablations_are_refused_before_training(more, error, said, people, prepared, tmp_path, small):
    with pytest.raises(error, match=said):
        ablate(prepared, people, tmp_path / "out", *(one.format(prepared / "imagenet.safetensors") for one in more))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--updates", "0"), "--updates"),
        (("--classification-epochs", "0"), "--classification-epochs"),
        (("--seeds", "0"), "--seeds"),
        (("--size", "0"), "--size"),
        (("--held-out", "0"), "--held-out"),
        (("--without", "pooling-gem"), "expected one of mining-random"),
        (("--size", "24"), "--size is for the factor size"),
        (("--weights", "imagenet.safetensors"), "says twice what tiny begins with"),
    ],
)
def test_usage(more, said, people, prepared, tmp_path, tiny_backbone):
    result = CliRunner().invoke(main, arguments(prepared, people, tmp_path / "out", *more))
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_fixed_parts_of_another_backbone_are_refused_before_the_first_run(people, prepared, tmp_path, small):
    (tmp_path / "small.toml").write_text(f'fixed = ["layer1"]\n{RECIPE}')
    with pytest.raises(FixedPartError, match="'layer1', which the trunk has not"):
        ablate(tmp_path, people, tmp_path / "out", weights=prepared / "imagenet.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_folder_from_before_a_choice_was_there_goes_on(people, prepared, tmp_path, small):
    assert ablate(prepared, people, tmp_path, choices=("--factor", "pooling")).exit_code == 0
    plan = json.loads((tmp_path / "ablation.json").read_text())
    del plan["recipe"]["fixed"]
    (tmp_path / "ablation.json").write_text(json.dumps(plan))
    assert ablate(prepared, people, tmp_path, choices=("--factor", "pooling")).exit_code == 0


def test_a_folder_with_something_else_under_the_plans_name_is_refused(people, prepared, tmp_path, small):
    for content in ("{", "[]", '{"format": "other"}'):
        (tmp_path / "ablation.json").write_text(content)
        with pytest.raises(AblationError, match="is not an ablation's plan"):
            ablate(prepared, people, tmp_path)


def test_damaged_scores_are_named(whole, people, prepared, tmp_path, small):
    shutil.copytree(whole, tmp_path / "copy")
    path = tmp_path / "copy" / "seed-5" / "ranked" / "baseline" / "scores.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AblationError, match=r"scores\.npz cannot be read .* remove it"):
        ablate(prepared, people, tmp_path / "copy")
    path.unlink()
    ablate(prepared, people, tmp_path / "copy")
    assert report(tmp_path / "copy") == report(whole)


def _killed(words, at):
    """In a process of its own: the ablation, killed before its update number `at` of all runs."""
    torch.set_num_threads(1)
    BACKBONES[TINY.name] = TINY
    accumulate, count = RankingStage.accumulate, 0

    def dying(stage, triplets, update):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return accumulate(stage, triplets, update)

    RankingStage.accumulate = dying
    main(words, standalone_mode=False)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_report(whole, people, prepared, tmp_path):
    words = arguments(prepared, people, tmp_path, "--checkpoint-minutes", 0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    codes = []
    for at in (4, 6, None):
        process = context.Process(target=_killed, args=(words, at))
        process.start()
        process.join(300)
        codes.append(process.exitcode)
    assert codes == [-9, -9, 0]
    assert report(tmp_path) == report(whole)


def test_the_help_names_every_factor(tiny_backbone):
    text = CliRunner().invoke(main, ["--help"]).output
    for name in ("augmentation", "size", "pooling", "backbone", "pre-training", "mining"):
        assert f"  {name} " in text
