"""End-to-end dictionaries for a module of your own: no model list, no language model needed."""

# --8<-- the README shows what stands between these two lines
import torch

import pellucid

module = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.Linear(64, 5))
data = pellucid.TensorData(torch.randn(4000, 20))
dictionary = pellucid.DictionaryConfig(
    site="1",  # the path of a submodule: here the ReLU
    architecture=pellucid.TopKConfig(n_latents=128, k=8),
    objective=pellucid.EndToEnd(),
)
config = pellucid.FitConfig(dictionaries={"mine": dictionary}, tokens=100_000, batch_rows=500)
summary = pellucid.fit(config, "runs/mine", host=pellucid.Host(module), data=data)
# --8<--

scores = summary["dictionaries"][0]
assert scores["l0"] <= 8 and scores["kl"] >= 0, scores
