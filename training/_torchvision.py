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
    _operators = torch.library.Library("torchvision", "FRAGMENT")  # kept: the names live as long as this does
    _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

from torchvision.models import mobilenetv2, resnet

__all__ = ["mobilenetv2", "resnet", "torchvision"]
