"""A model of MLServer that serves a model file of reid-runtime as it is: uint8 images in, unit vectors out.

`kserve+grpc://HOST:8081/reid` finds contract and artefact id in its metadata; `docs/serving.md` starts it.
"""

import asyncio

from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec

from reid_runtime import Embedder
from reid_runtime.backends.remote.statement import ARTEFACT_KEY
from reid_runtime.model_file.contract import METADATA_KEY


class Uint8Runtime(MLModel):
    """`parameters.uri` of model-settings.json is the file, or base, small or tiny; `parameters.extra.device` where."""

    async def load(self) -> bool:
        """Open the file once."""
        settings = self.settings.parameters
        device = (settings.extra or {}).get("device", "cpu")
        self.embedder = Embedder.load(settings.uri, device=device)
        return True

    async def metadata(self) -> types.MetadataModelResponse:
        """What MLServer says of the model, with what it is."""
        contract = self.embedder.contract
        return types.MetadataModelResponse(
            name=self.name,
            platform=self.embedder.backend.name,
            inputs=[types.MetadataTensor(name="images", datatype="UINT8", shape=[-1, -1, -1, 3])],
            outputs=[types.MetadataTensor(name="embeddings", datatype="FP32", shape=[-1, contract.dimension])],
            parameters=types.Parameters(**{METADATA_KEY: contract.to_json(), ARTEFACT_KEY: self.embedder.artefact_id}),
        )

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """One batch of one shape, in a thread, so that the server goes on listening."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        rows = await asyncio.to_thread(self.embedder.backend.run, images)
        return types.InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("embeddings", rows)])
