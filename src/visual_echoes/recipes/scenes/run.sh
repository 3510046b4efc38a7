#!/usr/bin/env bash
# Trains the `scenes` model end to end: data, judges, tokenizers, vocoder, transformer, model folder, calibration, evaluation.
# Each step resumes where it stopped. IMAGES and SOUNDS name folders with local copies; without them the originals are fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."
echoes=${ECHOES:-.venv/bin/echoes}
"$echoes" data scenes ${IMAGES:+--images "$IMAGES"} ${SOUNDS:+--sounds "$SOUNDS"}
for part in judge-image judge-audio viewer listener image-vqgan audio-vqgan image-vqgan-sharp audio-vqgan-sharp \
    audio-decoder vocoder vocoder-longer transformer transformer-longer transformer-contrast autoregressive; do
  "$echoes" train "recipes/scenes/$part.toml"
done
"$echoes" assemble runs/scenes/model --overwrite --name scenes --card recipes/scenes/card.md --steps 10 --temperature 9 --guidance 5 \
  --part runs/scenes/image-vqgan-sharp/model --part runs/scenes/audio-decoder/model \
  --part runs/scenes/transformer-contrast/model --part runs/scenes/vocoder-longer/model
cp data/prepared/scenes-sounds/CREDITS.csv runs/scenes/model/  # the licences of the sounds ask for it
judges=(--image-judge runs/scenes/judge-image/model --audio-judge runs/scenes/judge-audio/model)
"$echoes" calibrate runs/scenes/model --data data/prepared/scenes "${judges[@]}"
"$echoes" evaluate scenes --model runs/scenes/model "${judges[@]}" --autoregressive runs/scenes/autoregressive/model -o reports/scenes
