#!/usr/bin/env bash
# The paper's run in small: the very commands of `run.sh` and `evaluate.sh`, from video files to the table of figures, at
# the paper's layout, with small networks. An hour on two cores; run it before the real one.
#
#   recipes/paper/rehearsal.sh [CLIPS LIST]
#
# Without CLIPS it makes TRAIN and TEST of them of data/scenes-sample. STEPS shortens the trainings. Networks of the
# metrics have random weights: their figures mean nothing. What was made lies in WORK, runs/rehearsal unless named;
# `rehearsal.json` there has the tables.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHON=${PYTHON:-.venv/bin/python}
work=${WORK:-runs/rehearsal} rehearse=("$PYTHON" recipes/paper/rehearsal.py)
mkdir -p $work
clips=${1:-$work/videos/clips} list=${2:-$work/videos/vggsound.csv}
[[ $# -gt 0 ]] || "${rehearse[@]}" clips data/scenes-sample $work/videos "${TRAIN:-200}" "${TEST:-40}"
"${rehearse[@]}" recipes $work/recipes $work/data $work/runs ${STEPS:-}
pins=$("${rehearse[@]}" networks $work/networks)

bin=$(dirname "$PYTHON")
rm -f $work/times.jsonl
printf '#!/bin/sh\nexec "%s" recipes/paper/rehearsal.py timed %s/times.jsonl "%s/echoes" "$@"\n' "$PYTHON" $work "$bin" > $work/echoes
chmod +x $work/echoes
export ECHOES=$work/echoes DATA=$work/data RUNS=$work/runs RECIPES=$work/recipes
LAUNCH="${rehearse[*]} timed $work/times.jsonl $bin/accelerate launch -m visual_echoes" recipes/paper/run.sh "$clips" "$list"
recipes/paper/evaluate.sh $work/networks transformer $pins
settings=${TRAIN:+TRAIN=$TRAIN }${TEST:+TEST=$TEST }${STEPS:+STEPS=$STEPS }
"${rehearse[@]}" tables $work "${settings}recipes/paper/rehearsal.sh"
