#!/usr/bin/env bash
# What one GPU shows in about five minutes: exactness on the device, speed, memory, host synchronisations.
#
#   python benchmarks/workload.py --data_dir ../shared/data --model_name_or_path ENCODER --output out/workload
#   benchmarks/gpu_check.sh out/workload out/gpu_check              # on the machine with the GPU
#   benchmarks/gpu_check.sh out/workload out/gpu_check --device cpu --tiny    # tries the script out
#
# It needs torch, transformers, accelerate and pytest, and neither a network nor `datasets` nor `evaluate`.
set -uo pipefail
workload=$(realpath "$1") output=$(realpath -m "$2")
shift 2
device=cuda
[[ " $* " == *" --device cpu "* ]] && device=cpu
cd "$(dirname "$0")/.."
mkdir -p "$output"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}
seconds=${SECONDS_IN_ALL:-270}
status=0

# parts JOBS SHARE PART...: measures parts, JOBS at a time, within a share (in percent) of the time.
parts() {
    local jobs=$1 limit=$((seconds * $2 / 100))
    shift 2
    timeout -k 5 $((limit + 20)) "$python" benchmarks/bench.py --workload "$workload" --output "$output" --jobs "$jobs" \
        --minutes "$(awk "BEGIN { print $limit / 60 }")" --device "$device" "${options[@]}" --parts "$@" \
        >> "$output/bench.log" 2>&1 < /dev/null || status=1
}

options=("$@")
timeout -k 5 "$seconds" "$python" -m pytest -q -p no:cacheprovider --device "$device" -m "not distributed and not slow" \
    tests/run/test_exactness.py tests/run/test_device.py tests/run/test_optimizer_state_storage.py \
    > "$output/tests.log" 2>&1 < /dev/null &
tests=$!
# Memory, counts and exactness do not depend on what else runs; seconds do, so their parts run alone.
parts 5 32 memory naive naive_bf16_deltas checkpoint steps rte_tokens
parts 1 38 throughput epoch alpha_cost
parts 3 30 full_epoch full_epoch_bf16 curves
wait $tests || status=1
"$python" benchmarks/bench.py --workload "$workload" --output "$output" --minutes 0 --device "$device" "${options[@]}"
echo "Exactness on $device:"
tail -n 12 "$output/tests.log"
exit $status
