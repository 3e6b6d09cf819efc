#!/usr/bin/env bash
# Versions: recbole 1.2.1, torch 2.13.0 (CPU), pandas 2.2.3, numpy 1.26.4.
# A good guess: a `timestamp:float` column of an atomic file keeps seconds since 1970 apart, as the file does, so that a split
#   by time order is one.
# Seen: read by pandas they are float64; turned into an `Interaction`, as for every split and every model, they are float32.
#   Between 2^30 and 2^31 (2004 to 2038) these are multiples of 128 seconds: eight events ten seconds apart have two times.
#   (And the release needs NumPy 1: with NumPy 2 its configuration raises an AttributeError about `np.float_`.)
# For coset: times of atomic files are compared exactly.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 scikit-learn==1.5.2 \
  tqdm==4.67.1 pyyaml==6.0.3 colorlog==4.7.2 colorama==0.4.4 tensorboard==2.20.0 tabulate==0.9.0 plotly==6.5.0 \
  texttable==1.7.0 psutil==7.1.3 thop==0.1.1.post2209072238
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} --no-deps recbole==1.2.1
cd "$folder"
mkdir -p data/tiny
{
  printf 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n'
  for n in 0 1 2 3 4 5 6 7; do printf 'u%d\ti%d\t%d\t%d\n' $((n % 2)) "$n" $((n % 5 + 1)) $((1700000000 + 10 * n)); done
} > data/tiny/tiny.inter
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from recbole.config import Config
from recbole.data import create_dataset

columns = ["user_id", "item_id", "rating", "timestamp"]
settings = {"data_path": "data", "load_col": {"inter": columns}, "RATING_FIELD": "rating", "state": "ERROR"}
dataset = create_dataset(Config(model="BPR", dataset="tiny", config_dict=settings))
read = dataset.inter_feat["timestamp"].tolist()
parts = [part.inter_feat["timestamp"] for part in dataset.build()]
kept = sorted({time for part in parts for time in part.tolist()})
print("in the file:", [int(time) for time in read])
print("in the parts:", [int(time) for time in kept], parts[0].dtype)
assert read == [1_700_000_000 + 10 * n for n in range(8)]
assert {part.dtype for part in parts} == {torch.float32}
assert kept == [1_700_000_000, 1_700_000_128]
print("as described")
PYTHON
