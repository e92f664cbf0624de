#!/usr/bin/env bash
# What one GPU shows in about eight minutes: exactness on the device, speed, memory, host synchronisations.
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
status=0
# The toy runs of the tests hardly use the device, and the first part measures memory alone.
"$python" -m pytest -q -p no:cacheprovider --device "$device" tests/run/test_exactness.py tests/run/test_device.py \
    > "$output/tests.log" 2>&1 &
tests=$!
"$python" benchmarks/bench.py --workload "$workload" --output "$output" --minutes "${MINUTES:-7}" --device "$device" "$@" || status=1
wait $tests || status=1
echo "Exactness on $device:"
tail -n 12 "$output/tests.log"
exit $status
