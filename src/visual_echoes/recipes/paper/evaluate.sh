#!/usr/bin/env bash
# The field's figures of the paper's model on its test clips: FD, KL and inception score by PANNs, FAD by VGGish, CS by
# Wav2CLIP with CLIP. Each test clip's middle frame gets a sound; the clip's own is the real one.
#
#   recipes/paper/evaluate.sh NETWORKS [TRANSFORMER] [OPTION ...]
#
# NETWORKS is the folder of the published weights, under the names that docs/evaluation.md gives. Options go to `echoes
# evaluate sounds`. DATA and RUNS are those of `run.sh`.
set -euo pipefail
cd "$(dirname "$0")/../.."
networks=${1:?the folder of the published weights} transformer=${2:-transformer}
shift $(($# < 2 ? $# : 2))
echoes=${ECHOES:-echoes} python=${PYTHON:-python}
data=${DATA:-data/prepared/vggsound} runs=${RUNS:-runs/paper}
model=$runs/model-$transformer test=$runs/test-$transformer

"$python" recipes/paper/test_files.py "$data" "$test"
"$echoes" sound "$test/frames" -o "$test/made" --overwrite --no-video --model "$model"
"$echoes" evaluate sounds "$test/real" "$test/made" --pictures "$test/frames" --round-trip "$model" -o "$test/report" \
  --backbone "panns=$networks/Cnn14_16k_mAP=0.438.pth" --backbone "vggish=$networks/vggish-10086976.pth" \
  --backbone "clip=$networks/pytorch_model.bin" --backbone "wav2clip=$networks/Wav2CLIP.pt" "$@"
