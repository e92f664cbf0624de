#!/usr/bin/env bash
# Fine-tuning studies on one GPU, several runs at a time, within a number of minutes.
#
#   python benchmarks/workload.py --tasks rte mrpc wnli cb copa stsb cola \
#       --data_dir ../shared/data --model_name_or_path ENCODER --output out/workload
#   benchmarks/gpu_study.sh out/workload out/gpu_study benchmarks/presets/low_resource/development.yaml
#   MINUTES=1 benchmarks/gpu_study.sh out/workload out/gpu_study PRESET... --device cpu     # tries the script out
#
# OUTPUT/NAME.jsonl has the runs of the preset NAME.yaml; those that are already there are not repeated. Presets take
# their turns in the order given. It needs torch, transformers, accelerate, SciPy and PyYAML, and no network.
# MINUTES (8): no run starts later. JOBS: runs at a time; by default one per core, but two.
set -uo pipefail
workload=$(realpath "$1") output=$(realpath -m "$2")
shift 2
presets=() options=()
for argument in "$@"; do
    if [[ $argument == *.yaml ]]; then presets+=("$(realpath "$argument")"); else options+=("$argument"); fi
done
cd "$(dirname "$0")/.."
mkdir -p "$output"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-python3}
cores=$(nproc --all)
jobs=${JOBS:-$((cores > 3 ? cores - 2 : 1))}
end=$(($(date +%s) + $(awk "BEGIN { print int(60 * ${MINUTES:-8}) }")))
status=0
for preset in "${presets[@]}"; do
    name=$(basename "$preset" .yaml)
    left=$((end - $(date +%s)))
    echo "## $name"
    "$python" benchmarks/low_resource.py "$preset" --workload "$workload" --output "$output/$name.jsonl" --jobs "$jobs" \
        --minutes "$(awk "BEGIN { print ($left > 0 ? $left : 0) / 60 }")" "${options[@]}" 2>> "$output/$name.log" || status=1
    tail -n 1 "$output/$name.log"
done
exit $status
