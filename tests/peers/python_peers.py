"""PyTorch's and NumPy's time for the training steps that `systole bench model` times.

FP32 (and PyTorch's autocast to FP16 with a GradScaler), SGD with momentum, random data of the same shape, one thread.

Arguments: `IN-HIDDEN-OUT:BATCH:STEPS:ROUNDS` each. Prints one line per library and network: library, µs per step of the fastest
round, of the median one.
"""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import itertools  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

LR, MOMENTUM = 0.05, 0.9


def torch_step(sizes, batch, half):
    """A step of PyTorch on a dense network with ReLU between its layers; `half`: the paper's recipe as PyTorch has it."""
    torch.manual_seed(0)
    layers = [[torch.nn.Linear(i, o), torch.nn.ReLU()] for i, o in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(*list(itertools.chain(*layers))[:-1])
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
    scaler = torch.amp.GradScaler("cpu", enabled=half)
    inputs, classes = torch.rand(batch, sizes[0]), torch.arange(batch) % sizes[-1]

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16, enabled=half):
            loss = torch.nn.functional.cross_entropy(network(inputs), classes)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def numpy_step(sizes, batch):
    """The same step written by hand: no graph, no dispatcher, only products and a few passes over arrays."""
    random = np.random.default_rng(0)
    weights = [random.normal(0, (2 / i) ** 0.5, (i, o)).astype("f4") for i, o in itertools.pairwise(sizes)]
    biases = [np.zeros(o, "f4") for o in sizes[1:]]
    parameters = [*weights, *biases]
    moments = [np.zeros_like(p) for p in parameters]
    inputs = random.random((batch, sizes[0]), dtype="f4")
    rows, classes = np.arange(batch), np.arange(batch) % sizes[-1]

    def step():
        activations = [inputs]
        for i, (w, b) in enumerate(zip(weights, biases)):
            x = activations[-1] @ w + b
            activations.append(np.maximum(x, 0) if i + 1 < len(weights) else x)
        shifted = activations[-1] - activations[-1].max(1, keepdims=True)
        delta = np.exp(shifted)
        sums = delta.sum(1, keepdims=True)
        loss = (np.log(sums[:, 0]) - shifted[rows, classes]).mean()
        delta /= sums
        delta[rows, classes] -= 1
        delta /= batch
        gradients = []
        for i in reversed(range(len(weights))):
            gradients.append((i, activations[i].T @ delta, delta.sum(0)))
            if i:
                delta = (delta @ weights[i].T) * (activations[i] > 0)
        for i, dw, db in gradients:
            for at, g in ((i, dw), (len(weights) + i, db)):
                moments[at] *= MOMENTUM
                moments[at] += g
                parameters[at] -= LR * moments[at]
        return float(loss)

    return step


def measure(step, steps, rounds):
    """µs per step of every round, ascending."""
    first = step()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(steps):
            last = step()
        times.append(1e6 * (time.perf_counter() - started) / steps)
    if not last < first:
        sys.exit(f"the loss went from {first} to {last}: what was timed does not train")
    return sorted(times)


def main():
    torch.set_num_threads(1)
    libraries = {
        f"PyTorch-{torch.__version__.split('+')[0]}": lambda s, b: torch_step(s, b, False),
        "PyTorch-autocast-fp16": lambda s, b: torch_step(s, b, True),
        f"NumPy-{np.__version__}": numpy_step,
    }
    for library, build in libraries.items():
        for argument in sys.argv[1:]:
            sizes, batch, steps, rounds = argument.split(":")
            sizes = [int(n) for n in sizes.split("-")]
            times = measure(build(sizes, int(batch)), int(steps), int(rounds))
            print(f"{library} {times[0]:.2f} {times[len(times) // 2]:.2f}", flush=True)


main()
