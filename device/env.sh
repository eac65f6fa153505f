mkdir -p /tmp/site && [ -d /tmp/site/transformers ] || tar xJf build/dev/site.tar.xz -C /tmp/site
export PYTHONPATH=/tmp/site:$PWD OMP_NUM_THREADS=1 RLLI_WORK=$PWD/build/work PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error PYTHONWARNINGS=ignore
