"""A run that is killed at any instant goes on to where it would have got."""

from __future__ import annotations

from pathlib import Path

from interpreted import interpreted

# Runs are forked, which takes a fiftieth of the time of a fresh process; nothing is differentiated before.
SCRIPT = """
import csv, json, os, random, signal, sys, time, traceback, warnings
from pathlib import Path

import torch
import torch._dynamo  # optimisers import it, which takes longer than the run

from pvg.agents.adversarial import Adversarial
from pvg.agents.checkpoint import load
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.log import FILES
from pvg.agents.selfplay import PPO
from pvg.agents.training import CHECKPOINT, train
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.arith import Arith
from test_checkpoint import everything

torch.set_num_threads(1)
warnings.simplefilter("ignore", DeprecationWarning)  # of forking, which is what this is about
SPEC = resolve(Arith(operations=2, modulus=2), ProverVerifier())
PHASES = (Imitation(updates=12), Adversarial(updates=12), PPO(updates=12, pool=2, pool_every=2, kl=0.1, epochs=2))
CONFIG = TrainConfig("mlp", width=8, layers=1, lanes=8, phases=PHASES, log_every=1, checkpoint_every=1)


def begin(out):
    child = os.fork()
    if child:
        return child
    try:
        there = out / CHECKPOINT
        train(SPEC, CONFIG, out, resume=there if there.exists() else None, progress=False)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finish(child):
    assert os.waitpid(child, 0)[1] == 0


def held(out):
    with (out / FILES[0]).open(newline="") as file:
        table = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (out / FILES[1]).read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in lines]
    return everything(out / CHECKPOINT), table, rows, sorted(path.name for path in out.iterdir())


folder = Path(sys.argv[1])
start = time.perf_counter()
finish(begin(folder / "whole"))
took, whole = time.perf_counter() - start, held(folder / "whole")
draws, out, kills, seen, run = random.Random(0), folder / "0", 0, set(), 0
while kills < 20:
    child = begin(out)
    time.sleep(draws.uniform(0, took / 6))
    os.kill(child, signal.SIGKILL)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    if not killed:
        assert held(out) == whole, "finished before it was killed"
        run += 1
        out = folder / str(run)
        continue
    kills += 1
    if (out / CHECKPOINT).exists():
        seen.add((run, *load(out / CHECKPOINT)["done"]))
    elif out.exists():
        for path in out.iterdir():  # killed before there was anything to go on from
            path.unlink()
finish(begin(out))
assert held(out) == whole
print(len(seen), took)
"""


def test_a_run_killed_at_twenty_random_instants_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    places = int(interpreted(SCRIPT, tmp_path).split()[0])
    assert places >= 8, "kills were to meet the run at different places"
