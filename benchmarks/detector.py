"""python -m benchmarks.detector MODEL.xml SEQUENCE...: `det/det.txt` of MOT sequences, by an OpenVINO detector.

For detectors that give (1, 1, N, 7) rows of image, label, score and relative corners, as Open Model Zoo's
person-detection-retail-0013 and pedestrian-detection-adas-0002 do.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image

from reid_runtime.cli import run
from reid_runtime.scoring.layouts.mot import find_sequences

FOLDER = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("model", type=FOLDER)
@click.argument("folders", type=FOLDER, nargs=-1, required=True)
@click.option("--score", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="The least that is kept.")
def main(model: Path, folders: tuple[Path, ...], score: float) -> None:
    """Write what MODEL finds in the frames of each sequence."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    height, width = compiled.input(0).shape[2:]
    for sequence in (each for folder in folders for each in find_sequences(folder)):
        lines = []
        for number, path in sorted(sequence.images.items()):
            with Image.open(path) as image:
                sides = np.array(image.size * 2, dtype=np.float64)
                small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(small, dtype=np.float32)[None, :, :, ::-1].transpose(0, 3, 1, 2)
            rows = np.asarray(compiled(np.ascontiguousarray(pixels))[0]).reshape(-1, 7)
            for _, _, confidence, *corners in rows[rows[:, 2] >= score].tolist():
                left, top, right, bottom = (np.array(corners) * sides).tolist()
                lines.append(f"{number},-1,{left:.1f},{top:.1f},{right - left:.1f},{bottom - top:.1f},{confidence:.4f}")
        target = sequence.folder / "det" / "det.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
        click.echo(f"{target}: {len(lines)} boxes", err=True)


if __name__ == "__main__":
    run(main)
