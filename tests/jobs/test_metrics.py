"""What a job's file of counters says, as Prometheus's own client reads it."""

import json

import pytest

from reid_runtime import embed_folder
from reid_runtime.jobs import metrics as counters

from ..sample_images import encode, sample_image

parser = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encode(sample_image(48, 24, number), "PNG"))
    (folder / "cut.png").write_bytes(b"\x89PNG")
    return folder


def read(path):
    families = parser.text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


@pytest.mark.parametrize("output", ["rows.npz", "parts/"])
def test_a_finished_job(tiny, crops, tmp_path, output):
    if output.endswith("/"):
        pytest.importorskip("pyarrow")
    file = tmp_path / "job.prom"
    result = embed_folder(tiny, crops, f"{tmp_path}/{output}", metrics=file)
    values = read(file)
    assert values["reid_runtime_images_total", "embedded"] == 5
    assert values["reid_runtime_images_total", "failed"] == 1
    assert values["reid_runtime_job_images",] == 6
    assert (values["reid_runtime_job_running",], values["reid_runtime_job_succeeded",]) == (0, 1)
    images = {"decode": 6, "resize": 5, "infer": 5, "write": 6 if output.endswith("/") else 5}
    for stage, count in images.items():
        assert values["reid_runtime_stage_images_total", stage] == count
        assert values["reid_runtime_stage_seconds_total", stage] == result.stage_seconds[stage] > 0
    assert sum(name[0] == "reid_runtime_job_info" for name in values) == 1


def test_a_job_that_is_interrupted(tiny, crops, tmp_path, monkeypatch):
    file, during = tmp_path / "job.prom", []
    monkeypatch.setattr(counters, "_EVERY", 0.0)

    def progress(images):
        if file.exists():
            during.append(read(file))
        if len(during) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_folder(tiny, crops, tmp_path / "rows.npz", metrics=file, progress=progress)
    assert during[-1]["reid_runtime_job_running",] == 1
    values = read(file)
    assert (values["reid_runtime_job_running",], values["reid_runtime_job_succeeded",]) == (0, 0)
    assert values["reid_runtime_images_total", "embedded"] == 1


def test_finished_parts_of_an_earlier_run(tiny, crops, tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "job.prom"
    for resume in (False, True):
        embed_folder(tiny, crops, f"{tmp_path}/parts/", metrics=file, resume=resume)
    values = read(file)
    outcomes = [values["reid_runtime_images_total", name] for name in ("resumed", "embedded", "failed")]
    assert outcomes == [6, 0, 0]


def test_a_full_disk_does_not_end_the_job(tiny, crops, tmp_path, monkeypatch, caplog):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(counters, "atomic_write", full)
    embed_folder(tiny, crops, tmp_path / "rows.npz", metrics=tmp_path / "job.prom")
    assert (tmp_path / "rows.npz").exists()
    assert "No space left on device" in caplog.text


def test_label_values_are_escaped():
    line = counters._family("x", "y", [({"backend": 'a"b\\c\nd'}, 1.0)])
    (family,) = parser.text_string_to_metric_families(line)
    assert family.samples[0].labels == {"backend": 'a"b\\c\nd'}


def test_the_command_writes_it_and_says_what_stages_took(command, tiny_model, crops, tmp_path):
    run = command(
        "embed", crops, "--model", tiny_model, "-o", tmp_path / "rows.npz", "--metrics", tmp_path / "x.prom", "--json"
    )
    assert run.code == 3
    assert json.loads(run.out)["stage_seconds"].keys() == {"decode", "resize", "infer", "write"}
    assert read(tmp_path / "x.prom")["reid_runtime_images_total", "failed"] == 1
