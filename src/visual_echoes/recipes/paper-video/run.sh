#!/usr/bin/env bash
# The paper's model on videos, on one node: clips, tokenizers, vocoder, tokens, transformer, model folder.
#
#   recipes/paper-video/run.sh CLIPS LIST
#
# CLIPS is the folder of downloaded videos, LIST VGGSound's CSV. Every step goes on where it stopped. The tokenizer of sounds
# and the vocoder are those of recipes/paper; what lies in their model folders already, trained or converted, is not trained.
# LAUNCH holds other launcher settings.
set -euo pipefail
cd "$(dirname "$0")/../.."
clips=${1:?the folder of videos} list=${2:?the CSV of VGGSound}
echoes=${ECHOES:-echoes} python=${PYTHON:-python}
launch=${LAUNCH:-accelerate launch -m visual_echoes}
data=data/prepared/vggsound-video runs=runs/paper-video sounds=runs/paper

"$echoes" prepare "$clips" --list "$list" --layout paper-video -o $data
[[ -f $runs/image-vqgan/model/config.json ]] || $launch train recipes/paper-video/image-vqgan.toml
for part in audio-vqgan vocoder; do
  [[ -f $sounds/$part/model/config.json ]] || $launch train "recipes/paper/$part.toml" --data $data
done
"$python" recipes/paper/join.py $runs/image-vqgan/model $sounds/audio-vqgan/model $runs/tokenizers
"$echoes" prepare "$clips" --list "$list" -o $data --tokens $runs/tokenizers
$launch train recipes/paper-video/transformer.toml
"$echoes" assemble $runs/model --overwrite --name paper-video --steps 30 --temperature 9 --guidance 3 \
  --part $runs/tokenizers --part $sounds/vocoder/model --part $runs/transformer/model
"$echoes" doctor $runs/model
