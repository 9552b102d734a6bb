#!/usr/bin/env bash
# Evaluate on a Slurm cluster:
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of test.py]
# Environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PYTHON.
set -euo pipefail

script=$0
if [ -L "$script" ]; then  # train.py is next to the file, not the link
    script=$(readlink -f "$script")
fi
tools=$(dirname "$script")
# shellcheck source=tools/launch.bash
source "$tools/launch.bash"
if [ $# -lt 4 ]; then usage; fi
check_slurm
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
# A job of fewer GPUs than a node has asks for no more than it uses.
per_node=$((gpus < per_node ? gpus : per_node))

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
# SRUN_ARGS is a list of words on purpose.
# shellcheck disable=SC2086
exec srun \
    --partition="$1" \
    --job-name="$2" \
    --gres=gpu:"$per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$tools/test.py" "$3" "$4" \
    --launcher slurm "${@:5}"
