"""A saliency bank over the epochs
===============================

What training shows of each sample is kept for the next time it comes.
"""

# %%
# A `SaliencyBank` saves the extra pass that exact saliency costs. It starts
# even, and every training step carries the gradient on the mixed batch back to
# the samples. Here it watches a small ResNet learn 200 handwritten digits.

# sphinx_gallery_thumbnail_number = 1
import torch
import torch.nn.functional as F

import mixkit
from experiments.data.digits import load_digit_images
from experiments.models import create_model
from experiments.report.gallery import axes_of, heat, image, show

data = load_digit_images().limited(200)
digits, labels = data.prepare(data.train), data.train_labels
torch.manual_seed(0)
model = create_model("preact_resnet18", channels=1, num_classes=10, width=8)

bank = mixkit.SaliencyBank(len(digits))
mixer = mixkit.create_mixer(
    "sagemix", domain="image", num_classes=10, saliency=bank
)
exact = mixkit.GradientSaliency(model)
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)

# %%
# The loop
# --------
# The mixer is told which samples these are; ``backward()`` does the rest.

chosen = torch.tensor([3, 17, 40, 58])
remembered, agreement, losses = {}, [], []
for epoch in range(1, 21):
    model.train()
    total = 0.0
    for keys in torch.randperm(len(digits)).split(40):
        mixed, targets = mixer(digits[keys], labels[keys], samples=keys)
        loss = F.cross_entropy(model(mixed), targets)
        optimizer.zero_grad()
        loss.backward()  # the bank learns here
        optimizer.step()
        total += float(loss.detach()) * len(keys)
    losses.append(total / len(digits))
    now = exact.find(digits, labels, mixer.domain)
    kept = bank.look_up(torch.arange(len(digits)))
    pairs = torch.stack(
        [now.argsort(1).argsort(1), kept.argsort(1).argsort(1)]
    )
    ranks = pairs.float() - pairs.float().mean(2, keepdim=True)
    agreement.append(F.cosine_similarity(*ranks, dim=1).mean().item())
    if epoch in (1, 4, 20):
        remembered[epoch] = kept[chosen]

# %%
# What is remembered
# ------------------
# Each column is a digit; below it what the bank holds after one, four and
# twenty epochs, and last the exact gradient of the trained model.

pictures = [image(1 - data.train[i], f"digit {labels[i]}") for i in chosen]
for epoch, maps in remembered.items():
    after = "epoch" if epoch == 1 else "epochs"
    pictures += [heat(each.reshape(8, 8), f"{epoch} {after}") for each in maps]
pictures += [heat(each.reshape(8, 8), "exact") for each in now[chosen]]
show(pictures)

# %%
# How well it agrees
# ------------------
# The rank correlation of remembered and exact saliency over the pixels,
# averaged over the digits: 0 is no relation, 1 the same order. It rises and
# levels off below 1: the bank averages over many mixes and a model that
# changes, the gradient is of one model at one sample.

figure, (left, right) = axes_of(columns=2)
epochs = range(1, 21)
left.plot(epochs, agreement, linewidth=2, color="#0b6ea8")
left.set(xlabel="epoch", ylim=(0, 1), title="bank and exact saliency")
left.set_ylabel("rank correlation")
right.plot(epochs, losses, linewidth=2, color="#d07a00")
right.set(xlabel="epoch", ylabel="loss", title="training loss on mixes")

# %%
# In a notebook a bank shows how often its samples have been learnt:

bank
