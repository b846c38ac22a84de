"""Contracts of published models, known by the digests of their weights: these files run without a stated contract.

They are person-reidentification-retail of Open Model Zoo (https://github.com/openvinotoolkit/open_model_zoo), and OSNet
of torchreid (https://github.com/KaiyangZhou/deep-person-reid) as ONNX.
"""

from reid_runtime.images.model_input import InputFormat
from reid_runtime.images.resize import FixedSize
from reid_runtime.model_file.contract import Contract, TrainedOn
from reid_runtime.model_file.precision import Precision


def _contract(
    name: str, weights: str, form: InputFormat, dimension: int, graph: str, trained_on: TrainedOn
) -> Contract:
    return Contract(
        name=name,
        resize=FixedSize(256, 128),
        input=form,
        unit_output=False,
        dimension=dimension,
        metric="cosine",
        weights=f"sha256:{weights}",
        graph=graph,
        precision=Precision(),
        trained_on=(trained_on,),
    )


_RETAIL = {
    "0277": "6bb69e09d07733cc3896b29081d2627f92db7b9aacd50f1a8c3df491cb10f1b7",
    "0286": "d06beb9e2b2661d42b233f64ef623f3518fc46dc11f6b7dd53cda8962d9d1bd9",
    "0287": "7f53d18d11253455e0e11646b2176cf6509cc7c97cb5376f9b91b4c41e09a06c",
    "0288": "6496b8d51741703c9e9c7f6474cb96c60de1856d7b4fd77235e48cea146066a5",
}
KNOWN: dict[str, Contract] = {
    contract.weights: contract
    for contract in (
        *(
            _contract(
                f"person-reidentification-retail-{number}",
                digest,
                InputFormat("NCHW", "float32", "bgr"),
                256,
                "OpenVINO IR as published in Open Model Zoo",
                TrainedOn("unpublished", "Apache-2.0 weights; their training data are not published", 0, 0),
            )
            for number, digest in _RETAIL.items()
        ),
        _contract(
            "osnet_x0_25_msmt17",
            "61b2604171ef9d58d21758626f83b35a253c3d7123976523a6e03068c3c95d7b",
            InputFormat("NCHW", "float32", "rgb", 0.00392156862745098, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            512,
            "OSNet x0.25 as ONNX",
            TrainedOn(
                "MSMT17 training split", "no licence stated with the weights; MSMT17: research only", 1041, 32621
            ),
        ),
    )
}
