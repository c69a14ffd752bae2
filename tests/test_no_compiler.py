"""Training does without torch's compiler, and whoever wants it still gets it."""

from __future__ import annotations

import subprocess
import sys

from hpcnas.runtime.no_compiler import leave_compiler_out

PROGRAM = """
import sys
import torch
from hpcnas.nn.recipe import OPTIMIZERS, TrainingConfig
from hpcnas.runtime.no_compiler import leave_compiler_out

leave_compiler_out()
for name in OPTIMIZERS:
    model = torch.nn.Linear(3, 2)
    optimizer = TrainingConfig(optimizer=name).make_optimizer(model.parameters())
    before = model.weight.detach().clone()
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert not torch.equal(model.weight, before)
store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
torch.distributed.all_reduce(torch.ones(1))
torch.distributed.destroy_process_group()
print("torch._dynamo.convert_frame" in sys.modules)
double = torch.compile(lambda x: 2 * x, backend="eager")
print(double(torch.ones(1)).item(), "torch._dynamo.convert_frame" in sys.modules)
"""


def test_a_variable_leaves_it_to_torch(monkeypatch):
    monkeypatch.setenv("HPCNAS_TORCH_COMPILER", "1")
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    leave_compiler_out()
    assert "torch._dynamo" not in sys.modules


def test_optimisers_and_process_groups_do_not_load_the_compiler_and_compile_does():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "2.0", "True"]), done.stderr
