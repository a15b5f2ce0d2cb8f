"""A policy is trained on episodes of an environment, which asks for actions as numbers."""

import keras
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)


class Env:
    def reset(self):
        self.t, self.s = 0, rng.normal(size=4).astype("float32")
        return self.s

    def step(self, a):
        self.t += 1
        self.s = (self.s * 0.9 + (a - 0.5) * 0.1).astype("float32")
        return self.s, float(-abs(self.s[0])), self.t >= 15


inputs = keras.Input((4,))
h = keras.layers.Dense(16, activation="tanh")(inputs)
policy = keras.Model(
    inputs,
    [keras.layers.Dense(2, activation="softmax", name="actor")(h), keras.layers.Dense(1, name="value")(h)],
    name="policy",
)
opt = keras.optimizers.Adam(1e-2)
env = Env()
running = 0
for episode in range(3):
    state = env.reset()
    logs, rewards = [], []
    with tf.GradientTape() as tape:
        for t in range(1000):
            probs, value = policy(tf.expand_dims(tf.convert_to_tensor(state), 0))
            action = rng.choice(2, p=np.squeeze(probs) / np.sum(np.squeeze(probs)))
            logs.append(tf.math.log(probs[0, action]))
            state, reward, done = env.step(action)
            rewards.append(reward)
            if done:
                break
        returns, g = [], 0.0
        for r in rewards[::-1]:
            g = r + 0.99 * g
            returns.insert(0, g)
        returns = (np.array(returns) - np.mean(returns)) / (np.std(returns) + 1e-8)
        loss = -sum(l * r for l, r in zip(logs, returns))
    grads = tape.gradient(loss, policy.trainable_variables)
    opt.apply_gradients((g, v) for g, v in zip(grads, policy.trainable_variables) if g is not None)
    running = 0.05 * sum(rewards) + 0.95 * running
    print(f"episode {episode} reward {running:.2f} loss {loss:.3f}")
