"""A model of MLServer that takes whole image files, JPEG or PNG, for those who want a plain HTTP service.

Decoding and resizing happen on the server; send files base64-encoded in a BYTES tensor, as `docs/serving.md` shows.
"""

import asyncio

from mlserver import MLModel, types
from mlserver.codecs import Base64Codec, StringCodec

from reid_runtime import Embedder


class JpegRuntime(MLModel):
    """`parameters.uri` of model-settings.json is the model's file, or base, small or tiny."""

    async def load(self) -> bool:
        """Open the file once."""
        self.embedder = Embedder.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Rows in the order of the files; one that cannot be used has a row of NaN, and its reason in `errors`."""
        images = [bytes(each) for each in Base64Codec.decode_input(payload.inputs[0])]
        results = await asyncio.to_thread(lambda: [*self.embedder.stream(images, low_latency=False)])
        nothing = [float("nan")] * self.embedder.dimension
        rows = [nothing if result.vector is None else result.vector.tolist() for result in results]
        return types.InferenceResponse(
            model_name=self.name,
            outputs=[
                types.ResponseOutput(
                    name="embeddings", datatype="FP32", shape=[len(rows), self.embedder.dimension], data=rows
                ),
                StringCodec.encode_output("errors", [str(result.error or "") for result in results]),
            ],
        )
