"""What is changed in a graph before OpenVINO compiles it; in float32 an image keeps its bytes."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt


def fold_constants(openvino: ModuleType, model: Any) -> None:
    """Reshape constants now that OpenVINO would reshape in each run.

    It reads an ONNX file's bias of a convolution as a reshape of as many axes as the images have, which it asks for
    again in every run: a hundred times in `tiny`, a tenth of its time.
    """
    for operator in model.get_ordered_ops():
        if operator.get_type_name() != "Reshape" or operator.get_output_partial_shape(0).is_dynamic:
            continue
        constant, axes = (operator.input_value(number).get_node() for number in (0, 1))
        if constant.get_type_name() != "Constant" or axes.get_type_name() == "Constant":
            continue
        if constant.get_element_type().get_type_name() in ("f32", "f16"):  # four bits a number are packed
            folded = openvino.opset13.constant(constant.data.reshape(list(operator.get_output_shape(0))))
            operator.output(0).replace(folded.output(0))


def of_one_size(
    openvino: ModuleType, core: Any, model: Any, shape: tuple[int, ...], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Make the model one for batches of one shape, so that it gives the bytes of the model for any.

    Told the shape, OpenVINO does three things that change an image's last bits, and do not make it much faster:

    - It makes one kernel of a chain of elementwise operators, which rounds a product and a sum at once.
    - It computes what follows from the shape alone ahead of time, with other arithmetic than in the run: such are the
      weights of a spatial pooling, resized to the feature map.
    - These being constants, it lays out their product with the features in another way, and sums it in another order.

    So such kernels are forbidden here, and what follows from the shape alone is an input, whose value is computed as
    the model for any shape computes it.

    Args:
        openvino: The package.
        core: Its Core.
        model: With free sizes; it is changed.
        shape: Of the batches.
        options: Properties, as the model for any shape was compiled with.

    Returns:
        The properties to compile it with, and the values of its inputs after the first.

    Raises:
        RuntimeError: Of OpenVINO.
    """
    places = _where_numbers_of_the_shape_enter(model)
    values: list[npt.NDArray[Any]] = []
    if places:
        values = _numbers_of(openvino, core, model, [place.get_source_output() for place in places], shape, options)
        for place, value in zip(places, values, strict=True):
            given = openvino.opset13.parameter(list(value.shape), place.get_element_type())
            place.replace_source_output(given.output(0))
            model.add_parameters([given])
    model.reshape({model.inputs[0]: list(shape)})
    return {**options, "SNIPPETS_MODE": "DISABLE"}, values


def _numbers_of(
    openvino: ModuleType, core: Any, model: Any, sources: list[Any], shape: tuple[int, ...], options: Mapping[str, Any]
) -> list[npt.NDArray[Any]]:
    """What the model for any shape computes at `sources`, of the shape alone.

    In bfloat16 what comes after the last product of a model stays in float32, to the end. Inside the whole model these
    numbers were rounded; here each is at an end, and so is multiplied by ones on a diagonal, which rounds it likewise.
    """
    inputs = [np.zeros(shape, model.inputs[0].get_element_type().to_dtype())]
    parameters = model.get_parameters()
    if options["INFERENCE_PRECISION_HINT"] == "bf16":
        of_that_shape = openvino.Model(sources, parameters, "shapes").clone()
        of_that_shape.reshape({of_that_shape.inputs[0]: list(shape)})
        for place, output in enumerate(of_that_shape.outputs):
            if output.get_shape():
                ones = openvino.opset13.parameter([-1, -1], output.get_element_type())
                sources[place] = openvino.opset13.matmul(sources[place], ones, False, False)
                parameters.append(ones)
                inputs.append(np.eye(output.get_shape()[-1], dtype=output.get_element_type().to_dtype()))
    computed = core.compile_model(openvino.Model(sources, parameters, "of the shape"), "CPU", options)(inputs)
    return [np.array(computed[number]) for number in range(len(sources))]


def _where_numbers_of_the_shape_enter(model: Any) -> list[Any]:
    """The operators' inputs at which numbers computed from the images' shape alone meet the images' own.

    Integers that only say a shape do not count: they become numbers where they are converted to floats.
    """
    images = {each.get_friendly_name() for each in model.get_parameters()}
    shapes: set[str] = set()
    numbers: set[str] = set()
    places = []
    for operator in model.get_ordered_ops():
        name, inputs = operator.get_friendly_name(), operator.inputs()
        before = [each.get_source_output().get_node().get_friendly_name() for each in inputs]
        if any(each in images for each in before):
            if operator.get_type_name() == "ShapeOf":
                shapes.add(name)
                continue
            images.add(name)
            places += [each for each, source in zip(inputs, before, strict=True) if source in numbers]
        elif any(each in numbers for each in before):
            numbers.add(name)
        elif any(each in shapes for each in before):
            is_number = operator.get_type_name() == "Convert" and operator.get_output_element_type(0).is_real()
            (numbers if is_number else shapes).add(name)
    return places
