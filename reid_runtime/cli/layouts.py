"""The options of how a labelled folder is read, which several verbs share, and the reading of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import click

from reid_runtime.cli.options import gathered
from reid_runtime.errors import DatasetError
from reid_runtime.evaluation import EvalSet, eval_set_of
from reid_runtime.scoring.layouts.account import check_files, count_passed_over
from reid_runtime.scoring.layouts.crops import CropSplits
from reid_runtime.scoring.layouts.cuhk_sysu import GALLERY_SIZES, read_cuhk_sysu
from reid_runtime.scoring.layouts.datasets import DATASETS, Dataset, Splits
from reid_runtime.scoring.layouts.registry import find_dataset, missing_paths, read_dataset, read_layout
from reid_runtime.scoring.person_search import SearchSet

NAMES_HELP = "How one's own images are named: '{identity}_{camera}', or '{camera}/{identity}/' for folders."
_SETS = click.Choice([dataset.name for dataset in DATASETS])


@dataclass(frozen=True)
class LayoutChoice:
    """What --dataset, --layout, --gallery-size, --names and --no-cameras say."""

    dataset: str | None
    layout: str | None
    gallery_size: str | None
    names: str | None
    camera_rule: bool

    def check(self, folder: Path | None, argument: str) -> None:
        """Raises UsageError for options that contradict, or that come without the folder that `argument` names."""
        given = [name for name in ("dataset", "layout", "names", "gallery_size") if getattr(self, name) is not None]
        if folder is None and given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} says how to read {argument}; name that too")
        if "dataset" in given and "layout" in given:
            raise click.UsageError("--dataset names a layout too; state one of --dataset and --layout")
        if "names" in given and ("dataset" in given or self.layout not in (None, "plain")):
            raise click.UsageError("--names is for one's own images; published layouts state how theirs are named")

    def eval_set(self, folder: Path, *, multi_query: bool = False) -> EvalSet:
        """The queries and gallery of a folder."""
        definition, splits = self._read(folder)
        if isinstance(splits, SearchSet) and not self.camera_rule:
            raise click.UsageError("--no-cameras changes nothing in a person search, which ignores cameras")
        if self.gallery_size is not None:
            if definition.name != "cuhk-sysu":
                raise click.UsageError(f"--gallery-size is for CUHK-SYSU; {folder} has the layout of {definition.name}")
            splits = read_cuhk_sysu(folder, int(self.gallery_size))
            eval_set = eval_set_of(splits, self.dataset, definition, multi_query=multi_query)
            return replace(eval_set, method=f"person search, {self.gallery_size} gallery frames a query")
        eval_set = eval_set_of(splits, self.dataset, definition, multi_query=multi_query, camera_rule=self.camera_rule)
        if not isinstance(splits, CropSplits):
            return eval_set
        warnings: tuple[str, ...] = ()
        if self.dataset is None:
            warnings = check_files([splits.query] if splits.query is splits.gallery else [splits.query, splits.gallery])
        parts = (splits.query, splits.gallery, splits.train, splits.multi_query)
        passed_over = count_passed_over(folder, (name for part in parts if part for name in part.ids))
        return replace(eval_set, passed_over=passed_over, notes=eval_set.notes + warnings)

    def _read(self, folder: Path) -> tuple[Dataset, Splits]:
        if folder.is_file() and folder.suffix in (".npz", ".parquet"):
            raise DatasetError(
                f"{folder} holds embeddings: expected images, a folder or a CSV file that names them; `evaluate "
                "--from` takes what --save wrote, `calibrate` and `search` take embeddings"
            )
        if self.dataset is not None:
            return find_dataset(self.dataset), read_dataset(self.dataset, folder)
        if self.layout is None or self.names is not None:
            return read_layout(folder, self.names)
        definition = find_dataset(self.layout)
        missing = missing_paths(definition, folder)
        if missing:
            raise DatasetError(f"{folder} does not lie as {self.layout} does: missing {', '.join(missing)}")
        return definition, definition.read(folder)


layout_options = gathered(
    "read_as", LayoutChoice,
    [
        click.option(
            "--dataset", type=_SETS, metavar="NAME",
            help="Require a complete copy of that published set; `reid-runtime datasets` lists them.",
        ),
        click.option(
            "--layout", type=_SETS, metavar="NAME",
            help="Read the folder in the layout of that set, in place of the recognised one; counts are not checked.",
        ),
        click.option(
            "--gallery-size", type=click.Choice([str(size) for size in GALLERY_SIZES]),
            help="Gallery frames for each query, in CUHK-SYSU.  [100]",
        ),
        click.option("--names", metavar="PATTERN", help=NAMES_HELP),
        click.option(
            "--no-cameras", "camera_rule", flag_value=False, default=True,
            help="Count every other image of a person as a right answer, also those under the query's camera.",
        ),
    ],
)  # fmt: skip
