#!/usr/bin/env bash
# Repeats the model `digits-in-time` end to end: clips, semantic tokenizer, tokens, transformer, decoder of mels, model folder.
# All else, codes included, is that of `digits`. Needs the programs espeak-ng and flite. Each step resumes where it stopped; times
# are in docs/models.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
echoes=${ECHOES:-.venv/bin/echoes} python=${PYTHON:-.venv/bin/python} data=data/digits-in-time runs=runs/digits-in-time
[[ -f $data/splits.csv ]] || "$echoes" data digits-in-time -o $data
[[ -f $runs/voices.npz ]] || "$python" recipes/digits-in-time/voices.py $runs/voices.npz
[[ -d $runs/tokenizers ]] || "$python" recipes/digits-in-time/semantic.py $runs --voices $runs/voices.npz
"$echoes" prepare $data/clips --split-list $data/splits.csv --events $data/events.jsonl --layout digits-in-time \
  --tokens $runs/tokenizers -o data/prepared/digits-in-time
for part in transformer transformer-heard audio-decoder; do
  "$echoes" train recipes/digits-in-time/$part.toml
done
"$python" recipes/digits-in-time/mean.py $runs/transformer/model $runs/transformer-heard/model $runs/mean
"$echoes" assemble $runs/model --overwrite --name digits-in-time --card recipes/digits-in-time/card.md \
  --steps 32 --temperature 1 --guidance 3 --order frames --image-token-temperature 0.5 --audio-token-temperature 0.8 \
  --label-choice likeliest --part $runs/mean --part $runs/audio-decoder/model --part $runs/semantic --base digits
