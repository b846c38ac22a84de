"""mAP from each camera to each other one, as a table whose cells are shaded by their number."""

import math

from reid_runtime.evaluation.evaluate import Evaluation
from reid_runtime.report.markup import camera_name, percent
from reid_runtime.scoring.camera_pairs import score_camera_pairs


def camera_pairs(evaluation: Evaluation) -> str:
    """The table, or a sentence on why there is none."""
    eval_set = evaluation.eval_set
    if eval_set.search is not None:
        return "<p>Person search ignores cameras.</p>"
    if not eval_set.camera_rule:
        return "<p>Cameras are not used: every other image of the identity is a right answer.</p>"
    pairs = score_camera_pairs(evaluation.query_vectors, eval_set.query, evaluation.gallery_vectors, eval_set.gallery)
    columns = [camera_name(eval_set.gallery.names.camera(camera)) for camera in pairs.gallery_cameras.tolist()]
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    lines = []
    for camera, means, counts in zip(
        pairs.query_cameras.tolist(), pairs.map_finite_sum, pairs.valid_queries, strict=True
    ):
        cells = "".join(_cell(float(mean), int(count)) for mean, count in zip(means, counts, strict=True))
        name = camera_name(eval_set.query.names.camera(camera))
        lines.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    rerank = " These numbers are before re-ranking, which takes the gallery of all cameras." * (
        evaluation.settings.rerank is not None
    )
    return (
        "<p>mAP (finite-sum) in % of one camera's queries against the gallery of another camera, with the number of "
        f"queries below. The protocol ignores right answers under the query's own camera.{rerank}</p>"
        '<div class="scroll"><table class="pairs"><thead>'
        f'<tr><th class="corner" scope="col"><span>query</span> <span>gallery</span></th>{head}</tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(mean: float, count: int) -> str:
    if math.isnan(mean):
        return '<td class="none">–</td>'
    return f'<td style="--share:{mean:.3f}"><b>{percent(mean)}</b><small>{count:,}</small></td>'
