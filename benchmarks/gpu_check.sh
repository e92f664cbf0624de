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
echo "## Exactness on $device"
"$python" -m pytest -q -p no:cacheprovider --device "$device" tests/run/test_exactness.py tests/run/test_device.py \
    2>&1 | tee "$output/tests.log" | tail -n 15 || status=1
echo "## Speed and memory"
"$python" benchmarks/bench.py --workload "$workload" --output "$output" --minutes "${MINUTES:-7}" --device "$device" "$@" || status=1
exit $status
