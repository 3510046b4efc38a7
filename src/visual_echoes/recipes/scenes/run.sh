#!/usr/bin/env bash
# Trains the model `scenes` end to end: data, classifiers, tokenizers, transformer, model folder, evaluation. Each step
# resumes where it stopped. IMAGES and SOUNDS name folders with local copies (docs/train.md); without SOUNDS, ESC-50 is fetched.
# `image-decoder` begins with the published weights of TAEF2 in data/taef2. Times are in docs/models.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
echoes=${ECHOES:-.venv/bin/echoes} python=${PYTHON:-.venv/bin/python} runs=runs/scenes
"$echoes" data scenes --images "$IMAGES" ${SOUNDS:+--sounds "$SOUNDS"}
for part in judge-image judge-audio image-decoder audio-decoder; do
  "$echoes" train "recipes/scenes/$part.toml"
done
for part in image audio; do
  [[ -d $runs/$part-semantic ]] || "$python" recipes/scenes/semantic.py $part $runs/$part-semantic
done
"$echoes" train recipes/scenes/transformer.toml
"$echoes" assemble $runs/model --overwrite --eight-bits --name scenes --card recipes/scenes/card.md \
  --steps 8 --temperature 4 --guidance 3 --image-token-temperature 0.5 --label-choice likeliest \
  --part $runs/image-decoder --part $runs/audio-decoder --part $runs/image-semantic --part $runs/audio-semantic \
  --part $runs/transformer
cp data/prepared/scenes-sounds/CREDITS.csv $runs/model/  # the licences of the sounds ask for it
"$echoes" evaluate scenes --model $runs/model --image-classifier $runs/judge-image/model \
  --audio-classifier $runs/judge-audio/model -o reports/scenes
