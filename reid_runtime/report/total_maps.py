"""Why a query and what was found are alike, in a page: both images under their total maps."""

from collections.abc import Callable, Sequence

from PIL import Image

from reid_runtime.errors import ImageError
from reid_runtime.explain import Explainer, Explanation, PairExplanation
from reid_runtime.images.resize import Pixels
from reid_runtime.report.crops import image_uri
from reid_runtime.report.explanation import total_overlays
from reid_runtime.report.markup import escaped

_PAIRS = 200
"""How many a page shows, at most: some three megabytes, and half a minute."""

Load = Callable[[], Pixels] | None


class TotalMaps:
    """The explanations of one page."""

    def __init__(self, explainer: Explainer, most: int = _PAIRS) -> None:
        """Explain pairs until there are as many as `most`."""
        self.explainer, self._left = explainer, most

    def details(self, query: Load, candidates: Sequence[tuple[str, Load]]) -> str:
        """What opens at a click: the query's image with each that was found, which has a caption; HTML.

        Nothing where images are missing, or where the page has as many pairs as it may. Raises ContractError for a
        model that cannot be taken apart.
        """
        first = self._explained(query) if self._left > 0 else None
        figures = []
        for caption, load in candidates if first is not None else ():
            second = self._explained(load) if self._left > 0 else None
            if first is not None and second is not None:
                figures.append(_pair(PairExplanation(first, second), caption))
                self._left -= 1
        if not figures:
            return ""
        return (
            '<details class="why"><summary>Why: the places that make the similarity, light for, dark against</summary>'
            f'<div class="panels">{"".join(figures)}</div></details>'
        )

    def _explained(self, load: Load) -> Explanation | None:
        try:
            return None if load is None else self.explainer.explain(load(), "rgb")
        except (ImageError, ValueError):  # gone since it was embedded
            return None


def _pair(pair: PairExplanation, caption: str) -> str:
    over_query, over_found, end = total_overlays(pair)
    images = _image(over_query, f"query, for {caption}") + _image(over_found, caption)
    text = f"{caption}\nsimilarity {pair.cosine:.3f}\ncolours end at ±{end:.2g}"
    return f'<figure><div class="both">{images}</div><figcaption>{escaped(text)}</figcaption></figure>'


def _image(image: Image.Image, text: str) -> str:
    return f'<img src="{image_uri(image)}" width="{image.width}" height="{image.height}" alt="{escaped(text)}">'
