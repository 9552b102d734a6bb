#!/usr/bin/env bash
# Train on several GPUs, or on several CPU processes where there is no GPU:
#   tools/dist_train.sh CONFIG GPUS [flags of train.py]
# On several machines, run it on each with NNODES, NODE_RANK and MASTER_ADDR.
set -euo pipefail

script=$0
if [ -L "$script" ]; then  # train.py is next to the file, not the link
    script=$(readlink -f "$script")
fi
tools=$(dirname "$script")
# shellcheck source=tools/launch.bash
source "$tools/launch.bash"
if [ $# -lt 2 ]; then usage; fi
config=$1
gpus=$2
count GPUS "$gpus"
check_torchrun

export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
export LUMINET_LAUNCHER=$$  # the processes end when this one is killed
LUMINET_WORK_DIR=$(mktemp)  # where the training writes its folder's name
export LUMINET_WORK_DIR
trap 'rm -f "$LUMINET_WORK_DIR"' EXIT
# Whoever stops this script (Ctrl-C, Slurm, Kubernetes) means the training,
# even before the line that notes which process that is.
job=
stop() {
    local running=${job:-$(jobs -p)}
    if [ -z "$running" ]; then exit 143; fi
    kill -TERM "$running" 2> /dev/null || true
}
trap stop INT TERM
"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$tools/train.py" "$config" --launcher pytorch "${@:3}" <&0 &
job=$!

code=0
wait "$job" || code=$?
while kill -0 "$job" 2> /dev/null; do  # a signal ends `wait` before its time
    code=0
    wait "$job" || code=$?
done

# Whether this run, or the one that it goes on with, has saved a checkpoint.
# Nodes behind the first do not know: their disk may be another.
saved() {
    local word named
    named=$(< "$LUMINET_WORK_DIR")/last_checkpoint
    if [ "${NODE_RANK:-0}" -gt 0 ]; then return 0; fi
    if ! [ -f "$named" ]; then return 1; fi
    for word in "$@"; do
        if [ "$word" = --overwrite ]; then  # that file may be the old run's
            [ "$named" -nt "$LUMINET_WORK_DIR" ]
            return
        fi
    done
}

if [ "$code" -ne 0 ]; then
    again=()
    last=
    if saved "$@"; then
        for word in "$@"; do
            case $word in
                --resume | --resume=* | --overwrite) ;;
                --*) again+=("$word") ;;
                *) if [ "$last" != --resume ]; then again+=("$word"); fi ;;
            esac
            last=$word
        done
        again+=(--resume)
        how='To continue from the last checkpoint'
    else
        again=("$@")
        how='No checkpoint was saved. To start again'
    fi
    given=()  # another port or GPU would meet another run
    for name in NNODES NODE_RANK MASTER_ADDR PORT PYTHON CUDA_VISIBLE_DEVICES
    do
        given+=(${!name+"$name=${!name}"})
    done
    nodes=
    if [ "${NNODES:-1}" -gt 1 ]; then nodes=several; fi
    {
        echo "$0: the training on this machine (node ${NODE_RANK:-0} of" \
            "${NNODES:-1}) ended with exit code $code. The first error above," \
            "here or on another node, says why. $how, on every" \
            "node${nodes:+ with a NODE_RANK of its own}:"
        printf ' %q' ${given[@]+"${given[@]}"} "$0" "${again[@]}"
        echo
    } >&2
fi
exit "$code"
