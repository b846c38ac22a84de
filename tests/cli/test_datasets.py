"""reid-runtime datasets: everything that can be scored, as a table and as JSON."""

import json

from reid_runtime.scoring.layouts.datasets import DATASETS


def test_every_set_is_listed_with_its_needs_and_counts(command):
    run = command("datasets")
    assert (run.code, run.err) == (0, "")
    blocks = run.out.rstrip("\n").split("\n\n")
    assert [block.partition(":")[0] for block in blocks] == [dataset.name for dataset in DATASETS]
    for dataset, block in zip(DATASETS, blocks, strict=True):
        assert dataset.protocol in " ".join(block.split())
        for path in (path for names in dataset.layout for path in names):
            assert path in block
        for name, number in dataset.counts.items():
            assert f"{name.replace('_', ' ')} {number:,}" in block
    assert max(map(len, run.out.splitlines())) <= 120


def test_columns_are_aligned(command):
    blocks = command("datasets").out.rstrip("\n").split("\n\n")
    for dataset, block in zip(DATASETS, blocks, strict=True):
        first, *others = block.splitlines()
        assert first == f"{dataset.name}: {dataset.protocol}"
        assert {line[:12].strip() for line in others} <= {"", "needs", "may have", "reads", "counts"}
        assert all(line[10:12] == "  " and line[12] != " " for line in others)


def test_json_has_the_same_facts(command):
    actual = json.loads(command("datasets", "--json").out)
    assert [item["name"] for item in actual] == [dataset.name for dataset in DATASETS]
    market = actual[0]
    assert market["needs"] == [["query", "image_query"], ["bounding_box_test", "image_test"]]
    assert market["optional"] == ["bounding_box_train", "gt_bbox"]
    assert market["counts"]["gallery"] == 15_913
