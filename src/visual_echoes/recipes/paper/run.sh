#!/usr/bin/env bash
# The paper's model on one node: clips, tokenizers, vocoder, tokens, transformer, model folder.
#
#   recipes/paper/run.sh CLIPS LIST [TRANSFORMER]
#
# CLIPS is the folder of downloaded videos, LIST VGGSound's CSV, TRANSFORMER `transformer` (the default) or
# `transformer-mu055`. Every step goes on where it stopped, so the script can be interrupted and run again. A tokenizer or
# vocoder whose model folder is there already, trained or converted, is not trained. LAUNCH holds other launcher settings;
# RECIPES, DATA and RUNS name other folders, which the recipes must name too. `evaluate.sh` measures the model.
set -euo pipefail
cd "$(dirname "$0")/../.."
clips=${1:?the folder of videos} list=${2:?the CSV of VGGSound} transformer=${3:-transformer}
echoes=${ECHOES:-echoes} python=${PYTHON:-python}
launch=${LAUNCH:-accelerate launch -m visual_echoes}
recipes=${RECIPES:-recipes/paper} data=${DATA:-data/prepared/vggsound} runs=${RUNS:-runs/paper}

"$echoes" prepare "$clips" --list "$list" --layout paper -o "$data"
for part in image-vqgan audio-vqgan vocoder; do
  [[ -f $runs/$part/model/config.json ]] || $launch train "$recipes/$part.toml"
done
"$python" recipes/paper/join.py "$runs/image-vqgan/model" "$runs/audio-vqgan/model" "$runs/tokenizers"
"$echoes" prepare "$clips" --list "$list" -o "$data" --tokens "$runs/tokenizers"
$launch train "$recipes/$transformer.toml"
"$echoes" assemble "$runs/model-$transformer" --overwrite --name "paper-$transformer" --steps 30 --temperature 9 --guidance 3 \
  --part "$runs/tokenizers" --part "$runs/vocoder/model" --part "$runs/$transformer/model"
"$echoes" doctor "$runs/model-$transformer"
