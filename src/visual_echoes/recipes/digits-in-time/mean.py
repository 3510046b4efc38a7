"""Takes the mean of a transformer's weights before and after a further training (Wortsman et al. 2022, 2109.01903).

The later one has learnt more of one task and lost a little of another; the mean does both. What only the later one has
stays as it is.

    python recipes/digits-in-time/mean.py RUN/model LATER_RUN/model OUTPUT
"""

import sys
from pathlib import Path

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model


def main(before: str, after: str, output: str) -> None:
    old = load_model(before, wanted=["transformer"]).parts["transformer"].state_dict()
    model = load_model(after, wanted=["transformer"])
    state = model.parts["transformer"].state_dict()
    shared = [name for name in state if name in old and old[name].shape == state[name].shape]
    model.parts["transformer"].load_state_dict(state | {name: (old[name] + state[name]) / 2 for name in shared})
    save_model(Path(output), model, half=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
