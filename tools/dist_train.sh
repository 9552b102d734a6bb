#!/usr/bin/env bash
# Train on several GPUs, or on several CPU processes where there is no GPU:
#   tools/dist_train.sh CONFIG GPUS [flags of train.py]
# On several machines, run it on each with NNODES, NODE_RANK and MASTER_ADDR.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,4s/^# \?//p' "$0" >&2
    exit 2
fi
config=$1
gpus=$2
tools=$(dirname "$0")

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$tools/train.py" "$config" --launcher pytorch "${@:3}"
