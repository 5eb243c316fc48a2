"""What is different once mixkit-electrodes is installed: nothing is imported but mixkit."""

import torch
from torch import nn

import mixkit

places = torch.rand(19, 2)  # of 19 electrodes
recordings, labels = torch.randn(8, 19, 250), torch.randint(2, (8,))
model = nn.Sequential(nn.Flatten(), nn.Linear(19 * 250, 2))

for name in mixkit.list_methods("electrodes"):
    if name in ("sagemix", "cutmix", "sideswap"):
        mixer = mixkit.create_mixer(name, domain="electrodes", places=places, num_classes=2, model=model)
        mixed, targets = mixer(recordings, labels)
        assert mixed.shape == recordings.shape
        assert targets.shape == (8, 2)
