"""One reader of the uint8 input: TensorRT takes such an input only where a cast comes first and alone."""

import onnx


def cast_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, with the input's cast as first node, and what else read the input reading its result.

    The exporter has nodes that ask for the input's height and width (padding that depends on them) read the input.
    """
    images = model.graph.input[0].name
    casts = [node for node in model.graph.node if node.op_type == "Cast" and list(node.input) == [images]]
    if casts:
        first = onnx.NodeProto()
        first.CopyFrom(casts[0])
        model.graph.node.remove(casts[0])
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                if name == images:
                    node.input[index] = first.output[0]
        model.graph.node.insert(0, first)
    return model
