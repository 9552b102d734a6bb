# Sourced by the launchers beside it: their usage text and their checks.

# Print what is wrong, and lines 2 to 4 of the script: how to call it.
usage() {
    if [ $# -gt 0 ]; then
        echo "$0: $*" >&2
    fi
    sed -n '2,4s/^# //p' "$script" >&2
    exit 2
}

# count NAME VALUE: a number from 1 up
count() {
    if ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
        usage "$1 is '$2', not a number from 1 up."
    fi
}

# number NAME VALUE: a number from 0 up
number() {
    if ! [[ $2 =~ ^(0|[1-9][0-9]*)$ ]]; then
        usage "$1 is '$2', not a number."
    fi
}

# The variables that say where torchrun runs.
check_torchrun() {
    count NNODES "${NNODES:-1}"
    number NODE_RANK "${NODE_RANK:-0}"
    number PORT "${PORT:-29500}"
}

# The variables that say how many processes Slurm starts.
check_slurm() {
    count GPUS "${GPUS:-8}"
    count GPUS_PER_NODE "${GPUS_PER_NODE:-8}"
    count CPUS_PER_TASK "${CPUS_PER_TASK:-5}"
}
