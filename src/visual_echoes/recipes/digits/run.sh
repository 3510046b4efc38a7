#!/usr/bin/env bash
# Repeats the shipped `digits` model end to end: data, judges, tokenizers, vocoder, transformer, model folder, evaluation.
# Each step resumes where it stopped, so the script can be interrupted and run again. Times are in docs/models.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
echoes=${ECHOES:-.venv/bin/echoes}
"$echoes" data digits -o data/prepared/digits
for part in judge-image judge-audio image-vqgan image-decoder audio-vqgan vocoder transformer transformer-2 transformer-3; do
  "$echoes" train "recipes/digits/$part.toml"
done
"$echoes" assemble runs/digits/model --overwrite --name digits --card recipes/digits/card.md --steps 16 --temperature 4 --guidance 3 \
  --part runs/digits/image-decoder/model --part runs/digits/audio-vqgan/model \
  --part runs/digits/transformer-3/model --part runs/digits/vocoder/model
"$echoes" evaluate digits --model runs/digits/model -o reports/digits
