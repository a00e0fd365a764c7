#!/bin/bash
# A search on the nodes of a Slurm job. Fill in the lines marked with 1 and 2, then, on the login node:
#
#   sbatch cluster/slurm.sh search benign_malignant --data "$HOME/patches.npz" --trials 200 --name first
#   orchestrate status        squeue --me        scancel --signal=TERM --batch JOB    (docs/how-to-cluster.md)
#
# What follows the script is a command line of orchestrate. It runs on the first node, in the folder that sbatch
# was called in, which all nodes must see, as they must the environment. `ray symmetric-run` starts Ray on every
# node, waits for all, runs the command on the first, and ends Ray with it. A search whose run folder is there
# already is resumed, so that a job that Slurm starts again goes on.
#
#SBATCH --job-name=breast-search
#SBATCH --nodes=2                  # 1. nodes and GPUs; Ray finds CPUs and GPUs of a node by itself
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=1
# Whole nodes: Ray's last act is `ray stop`, which ends every Ray of yours on a node, and it refuses to start on a
# node where another one runs, whoever's it is.
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Three minutes before its time is up, or when it is pre-empted, the job is told, and the search ends as by Ctrl-C.
#SBATCH --signal=B:TERM@180

set -euo pipefail

VENV=${VENV:-$HOME/orchestrate/venv} # 2. the environment that holds orchestrate and ray[default]
export PATH="$VENV/bin:$PATH"
if [ "$#" -eq 0 ]; then
    echo "a command line of orchestrate is needed, such as: sbatch $0 search benign_malignant --name first" >&2
    exit 2
fi
for program in ray orchestrate; do
    command -v "$program" > /dev/null || { echo "$program is not in $VENV/bin; set VENV" >&2; exit 2; }
done

# Ray's ports are open to the network, and whoever reaches them can run code as you, unless Ray asks for a token.
# It lies in the home folder, which the nodes share; nobody else may read it.
umask 077
export RAY_AUTH_MODE=token
[ -s "$HOME/.ray/auth_token" ] || ray get-auth-token --generate > /dev/null
chmod 700 "$HOME/.ray"
chmod 600 "$HOME/.ray/auth_token"

# Sockets and logs: a folder of this job, on the node's own disk. Paths of sockets may have 107 characters.
export RAY_TMPDIR="/tmp/ray-$SLURM_JOB_ID"
export ORT_DISABLE_TELEMETRY=1 RAY_USAGE_STATS_ENABLED=0
# Nodes that load Python from a busy file system need longer than Ray's 30 seconds.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-600}
unset OMP_NUM_THREADS # else every trial would inherit it

# The first node by its address: its name may lead to a loopback address on the node itself, and Ray would then
# take no node for the head.
# `sed` reads all names; had it ended after the first, scontrol might die of a closed pipe, and the job with it.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname -I | awk '{print $1}')
# Below Ray's own range for workers, which begins at 10002, and another one for each job.
port=$((6400 + SLURM_JOB_ID % 3000))

# Go on where an earlier start of this job was. The program itself says how: task, name and folder of runs may
# stand in the command line in any order, or in a file of --config. What it cannot read, the search refuses below.
words=("$@")
if [ "$1" = search ]; then
    again=()
    while IFS= read -r -d '' word; do
        again+=("$word")
    done < <("$VENV/bin/python" -m orchestrator.cli.requeued "$@" 2> /dev/null)
    if [ "${#again[@]}" -gt 0 ]; then
        words=("${again[@]}")
    fi
fi

mkdir -p "$RAY_TMPDIR"
rm -f "$RAY_TMPDIR/search.pid" # of an earlier start of this job, whose number it keeps
ulimit -n 65536 2> /dev/null || true
# No dashboard: the job is Slurm's. The search leaves its number where the signal of the time limit finds it.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ray symmetric-run --address "$address:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --include-dashboard=false --disable-usage-stats --object-store-memory=4000000000 \
    -- sh -c 'echo $$ > "$RAY_TMPDIR/search.pid" && exec orchestrate "$@"' orchestrate "${words[@]}" &
step=$!

# The script runs on the first node, as the search does.
end_search() {
    if [ -s "$RAY_TMPDIR/search.pid" ]; then
        kill -TERM "$(cat "$RAY_TMPDIR/search.pid")" || true
    else
        kill -TERM "$step" || true
    fi
}
trap end_search TERM INT
wait "$step" && code=0 || code=$? # also where the step has ended before this line
while kill -0 "$step" 2> /dev/null; do
    wait "$step" && code=0 || code=$? # a signal ends `wait`, too
done
if [ "$code" -gt 128 ]; then # it may be the signal's, and the step have ended after it
    wait "$step" && late=0 || late=$?
    [ "$late" -eq 127 ] || code=$late # 127: the step's own was told before
fi
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$RAY_TMPDIR" || true
exit "$code"
