"""Second call: all that is gathered with the new generator. What is done is packed into $OUT every minute."""
import glob, os, shutil, subprocess, sys, tarfile, threading, time
from pathlib import Path
T0 = time.time(); LIMIT = float(os.environ.get("LIMIT", "500")); OUT = Path(os.environ["OUT"])
quick = bool(os.environ.get("QUICK"))
W = Path(os.environ["RLLI_WORK"]); G = Path("build/g"); G.mkdir(parents=True, exist_ok=True)
if Path("build/new").exists():
    for one in ("models/embedded-sd",):
        shutil.rmtree(f"data/{one}"); shutil.copytree(f"build/new/{one}", f"data/{one}")
    shutil.copy("build/new/prompts.yaml", "data/prompts.yaml")
def left(): return LIMIT - (time.time() - T0)
def say(*a): print(f"{time.time()-T0:6.0f}", *a, flush=True)
procs = {}
def start(name, code, cpu=False, **env):
    e = os.environ | {k: str(v) for k, v in env.items()} | ({"CUDA_VISIBLE_DEVICES": ""} if cpu else {})
    procs[name] = subprocess.Popen([sys.executable, "-c", code], env=e, stdout=open(f"build/{name}.log", "w"), stderr=subprocess.STDOUT)
def pack():
    def tar(name, paths):
        with tarfile.open(f"build/{name}.new", "w:gz" if name not in ("atlas0", "atlas1") else "w") as t:
            for p in paths:
                try: t.add(p)
                except OSError: pass
        shutil.move(f"build/{name}.new", OUT / f"{name}.tar")
    def some(pattern): return [p for p in glob.glob(pattern, recursive=True) if not os.path.basename(p).startswith(".") and os.path.isfile(p)]
    tar("g", some("build/g/qoe_table/*") + some("build/g/handoffs/*") + some("data/results/qoe_table*") + some("build/*.log") + some("data/results/looks.json"))
    tar("study", [p for p in some("build/study/**") if "checkpoint" not in p] + some("build/two-users/**"))
    tar("atlas0", some("build/atlas/0-*")); tar("atlas1", some("build/atlas/[12]-*"))
    tar("naming", some("build/work/naming/**"))
gather = "import sys; sys.argv=['gather',{what!r},'--work','build/g','--jobs','{jobs}'{more}]; from rlli_core.allocation import gather; gather.main()"
atlas = "from rlli_core.book.browser import atlas; from pathlib import Path; atlas.SEEDS=({seed},); atlas.gather(Path('build/atlas'))"
emb = "import sys, runpy; sys.argv=['embedded',{stage!r},'--output','build/{out}','--divide','{divide}']; runpy.run_module('rlli_core.embedded', run_name='__main__')"
for out in ("looks", "curve"):
    shutil.rmtree(f"build/{out}", ignore_errors=True); os.makedirs(f"build/{out}/results")
    os.symlink(os.path.abspath("data/models"), f"build/{out}/models")
JOBS = int(os.environ.get("JOBS", "11"))
start("table", os.environ.get("TABLE") or gather.format(what="table", jobs=JOBS, more=""))
for s in range(1 if quick else 3): start(f"atlas{s}", atlas.format(seed=s))
start("looks", emb.format(stage="looks", out="looks", divide=40 if quick else 1))
start("curve", emb.format(stage="step-curve", out="curve", divide=100 if quick else 1))
after = False; packed = time.time()
while left() > 25 and any(p.poll() is None for p in procs.values()):
    time.sleep(1)
    if not after and procs["table"].poll() is not None:
        after = True; say("table", procs["table"].poll(), {n: p.poll() for n, p in procs.items()})
        shutil.rmtree("data/results/x", ignore_errors=True)
        start("handoffs", gather.format(what="handoffs", jobs=os.environ.get("HJOBS", "5"), more=""))
        start("study", os.environ["STUDY"], cpu=True)
        start("twousers", "from rlli_core.allocation import *; from rlli_core.allocation.study import TRAINING; from rlli_core.allocation.ddpg import train; from pathlib import Path; import rlli_core.allocation as A\nfrom rlli_core.allocation.service import Service; from rlli_core.allocation.setting import ServiceConfig; from rlli_core.allocation.table import TableQoE\np=train('g-ddpg', Service(ServiceConfig(users=2), TableQoE.load()), 0, Path('build/two-users'), False, **vars(TRAINING['full'])); p.save(Path('build/two-users/actor.safetensors'), name='g-ddpg', seed=0, interactions=TRAINING['full'].interactions)", cpu=True)
    if time.time() - packed > 60:
        pack(); packed = time.time()
        say(len(glob.glob("build/g/qoe_table/*.npy")), "table", len(glob.glob("build/g/handoffs/*.npy")), "handoffs", len(glob.glob("build/study/*/result.json")), "trainings", len(glob.glob("build/atlas/*.webp")), "sheets", {n: p.poll() for n, p in procs.items() if p.poll() is not None})
for p in procs.values():
    if p.poll() is None: p.kill()
for n in ("looks", "curve"):
    f = Path(f"build/{n}/results/looks.json")
    if f.exists(): shutil.copy(f, OUT / f"{n}.json")
pack(); say("end", {n: p.poll() for n, p in procs.items()})
for n in procs:
    if procs[n].poll(): print(n, Path(f"build/{n}.log").read_text()[-600:])
