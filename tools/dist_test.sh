#!/usr/bin/env bash
# Evaluate on several GPUs, or on several CPU processes without a GPU:
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [flags of test.py]
# On several machines, run it on each with NNODES, NODE_RANK and MASTER_ADDR.
set -euo pipefail

script=$0
if [ -L "$script" ]; then  # train.py is next to the file, not the link
    script=$(readlink -f "$script")
fi
tools=$(dirname "$script")
# shellcheck source=tools/launch.bash
source "$tools/launch.bash"
if [ $# -lt 3 ]; then usage; fi
config=$1
checkpoint=$2
gpus=$3
count GPUS "$gpus"
check_torchrun

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
