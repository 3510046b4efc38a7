#!/usr/bin/env bash
# A model of your own clips: a folder of videos with sound, or of images and sounds under one name (door.jpg, door.wav).
#
#   examples/own_model.sh CLIPS OUT [STEPS]
#
# OUT/run is the model; run the script again to go on. docs/train.md says what to expect.
set -euo pipefail
clips=${1:?the folder of clips} out=${2:?a folder to make} steps=${3:-1000}
echoes=${ECHOES:-.venv/bin/echoes}
"$echoes" prepare "$clips" -o "$out/data" --tokens scenes --valid-share 0.15 --test-share 0
train=$(grep -c '"split": "train"' "$out/data/manifest.jsonl")
"$echoes" train "$(dirname "$0")/../recipes/mine/transformer.toml" --data "$out/data" -o "$out/run" \
  --steps "$steps" --batch-size $((train < 32 ? train : 32))
echo "Try it: echoes sound IMAGE -o made --model $out/run"
