#!/usr/bin/env bash
# Repeats the model `digits-in-time` end to end: clips, tokens, transformer, decoder of mels, model folder. All else, codes
# included, is that of `digits`. Each step resumes where it stopped; times are in docs/models.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
echoes=${ECHOES:-.venv/bin/echoes} data=data/digits-in-time
[[ -f $data/splits.csv ]] || "$echoes" data digits-in-time -o $data
"$echoes" prepare $data/clips --split-list $data/splits.csv --events $data/events.jsonl --layout digits-in-time --tokens digits \
  -o data/prepared/digits-in-time
"$echoes" train recipes/digits-in-time/transformer.toml
"$echoes" train recipes/digits-in-time/audio-decoder.toml
"$echoes" assemble runs/digits-in-time/model --overwrite --name digits-in-time --card recipes/digits-in-time/card.md \
  --steps 32 --temperature 1 --guidance 3 --order frames --part runs/digits-in-time/transformer/model \
  --part runs/digits-in-time/audio-decoder/model --base digits
