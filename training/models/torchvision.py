"""torchvision, also beside a torch build that its compiled operators were not made for.

torchvision's wheels link against one torch build. Beside another (the CPU build, say) the operators do not
load, and `import torchvision` fails while it declares shapes for two of them. Models use neither, so the
two names are all that is missing. Import torchvision's models from here.
"""

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    # Kept in a name of the module: the declarations live as long as this object.
    _operators = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _operators.define(  # type: ignore[no-untyped-call]
            f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    import torchvision

from torchvision.models import mobilenetv2, resnet

__all__ = ["mobilenetv2", "resnet", "torchvision"]
