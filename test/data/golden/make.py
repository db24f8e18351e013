"""Writes golden.json and golden.safetensors, next to this file: what the method's reference computes for test/train.

    python test/data/golden/make.py s2h_min.py

The argument is the reference implementation (numpy and torch, 2.13.0 on one CPU thread), whose `--golden` writes
everything; kept is what the tests read: three networks, the variants that are routes here, and every gradient in full
for the smallest network (of the others: of variant t1, none for ResNet-20; else the norm and two elements of each).
Names are the reference's, `case/p/NAME`, `case/VARIANT/ROUTE/NAME` and so on.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from safetensors.numpy import load_file, save_file

CASES = ("r8B_bn", "r8B_bn_div2", "r20B_bn")
VARIANTS = ("t1", "t2", "t3", "t4", "t5", "t6", "oneway", "bidir", "dmp")
ROUTES = ("gT_L", "gT_Ghard", "gT_Gsoft", "gT", "gU_L", "gU_G", "gU_R")
VALUES = ("L", "G", "R", "rho", "KL_hs", "fuse_sum", "fuse_gnorm", "fuse_paper")


def wanted(key):
    """Arrays of a case, and those of its gradients that are compared in full."""
    case, *rest = key.split("/")
    if case not in CASES:
        return False
    if rest[0] not in VARIANTS:
        return rest[0] in ("x", "y", "p", "u", "rank", "w", "s", "h")
    return case == "r8B_bn" or rest[0] == "t1"


def summary(route):
    """Norm of a route, and [norm, first value, second value] of each tensor; nothing for one that is zero."""
    return route if route["norm"] else {"norm": 0.0}


reference = sys.argv[1]
with tempfile.TemporaryDirectory() as folder:
    made = pathlib.Path(folder) / "golden.json"
    subprocess.run([sys.executable, reference, "--golden", str(made)], check=True)
    cases = json.loads(made.read_text())
    arrays = load_file(made.with_suffix(".safetensors"))

golden = {}
for name in CASES:
    case = cases[name]
    variants = {
        v: {**{k: case["variants"][v][k] for k in VALUES}, **{r: summary(case["variants"][v][r]) for r in ROUTES}}
        for v in VARIANTS
    }
    golden[name] = {**case, "variants": variants}

here = pathlib.Path(__file__).parent
(here / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
save_file({k: v for k, v in arrays.items() if wanted(k)}, here / "golden.safetensors")
