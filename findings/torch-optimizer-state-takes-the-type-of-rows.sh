#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU).
# A good guess: the state of an optimizer comes back from `load_state_dict` as `state_dict` gave it, so that training goes on
#   as if it had not been stopped.
# Seen: `Optimizer.load_state_dict` casts the state of a parameter to the type of the parameter, all but an entry that is
#   called `step`. An optimizer that keeps sums in float32 beside rows of bfloat16 has them in bfloat16 from then on: sums of
#   squares that grow by less than a 256th stand still, and the rows take other steps than without the stop.
# For coset: its optimizers load their state themselves, in the type it was saved in.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch


class WideAdagrad(torch.optim.Optimizer):
    """Adagrad with sums of squares in float32, whatever the type of the parameters."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["sum"] = torch.zeros_like(parameter, dtype=torch.float32)
                state["sum"] += parameter.grad.float() ** 2
                parameter -= (0.1 * parameter.grad.float() / state["sum"].sqrt()).to(parameter.dtype)


def steps(parameter, optimizer, count):
    for _ in range(count):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()


row = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
optimizer = WideAdagrad([row])
steps(row, optimizer, 300)

again = torch.nn.Parameter(row.detach().clone())
resumed = WideAdagrad([again])
resumed.load_state_dict(optimizer.state_dict())
print("type of the sums, saved and loaded:", optimizer.state[row]["sum"].dtype, resumed.state[again]["sum"].dtype)
assert (optimizer.state[row]["sum"].dtype, resumed.state[again]["sum"].dtype) == (torch.float32, torch.bfloat16)

steps(row, optimizer, 300)
steps(again, resumed, 300)
sums = optimizer.state[row]["sum"][0].item(), resumed.state[again]["sum"][0].item()
print("sums after 600 steps, without a stop and with one:", *sums)
assert sums == (600.0, 300.0)
print("as described")
PYTHON
