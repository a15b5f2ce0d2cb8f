"""Options by argparse, everything in main(), and a module beside the script."""

import argparse

import numpy as np
from networks import regressor


def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--format", choices=["small", "large"], required=True)
    return parser.parse_args()


def main():
    options = parsed()
    model = regressor(options.units, large=options.format == "large")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    for step in range(4):
        loss = model.train_on_batch(x[:16], x[:16, :1])
        print("step", step, "loss", loss)


if __name__ == "__main__":
    main()
