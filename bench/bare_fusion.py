"""The raw fusion alone as a plain PyTorch script, to measure a whole `fit` against: no xmodal in it.

python bench/bare_fusion.py TABLE EPOCHS: decodes pictures, tokenises sentences, trains the same small CNN + BiLSTM + one
Transformer block, scores the validation rows every epoch, and prints the accuracy of its best epoch.
"""

import csv
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn

WIDTH, BATCH, LENGTH, RATE = 64, 64, 96, 1e-3


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm_first, self.norm_second = nn.GroupNorm(4, outputs), nn.GroupNorm(4, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x):
        y = self.norm_second(self.second(F.relu(self.norm_first(self.first(x)))))
        return F.relu(y + self.shortcut(x))


class Network(nn.Module):
    def __init__(self, words, classes, channels=16, heads=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 5, 4, 2, bias=False), nn.GroupNorm(4, channels), nn.ReLU())
        self.stages = nn.Sequential(
            Residual(channels, channels, 1), Residual(channels, 2 * channels, 2), Residual(2 * channels, 4 * channels, 2)
        )
        self.picture = nn.Sequential(nn.Linear(4 * channels, WIDTH), nn.LayerNorm(WIDTH))
        self.embedding = nn.Embedding(words, WIDTH, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.lstm, self.sentence = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True), nn.LayerNorm(WIDTH)
        self.dropout, self.heads = nn.Dropout(0.4), heads
        self.summary, self.kind = nn.Parameter(torch.randn(WIDTH) * 0.02), nn.Parameter(torch.randn(2, WIDTH) * 0.02)
        self.norm, self.norm_mlp, self.norm_last = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.inner, self.outer, self.light = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(2 * WIDTH, WIDTH), nn.Dropout(0.1)
        self.last = nn.Linear(WIDTH, classes)

    def text(self, index, length):
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(index)), length, batch_first=True, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.sentence(self.dropout(y))

    def block(self, x, mask):
        B, N, D = x.shape
        q, k, v = self.qkv(self.norm(x)).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :]).transpose(1, 2).reshape(B, N, D)
        x = x + self.light(self.out(y))
        gate, value = self.inner(self.norm_mlp(x)).chunk(2, -1)
        return x + self.light(self.outer(self.light(F.silu(gate) * value)))

    def forward(self, pixels, index, length):
        picture = self.picture(self.stages(self.stem(pixels.permute(0, 3, 1, 2).float() / 64 - 2)).flatten(2).transpose(1, 2))
        text = self.text(index, length)
        summary = self.summary.expand(len(pixels), 1, -1)
        x = torch.cat([summary, picture + self.kind[0], text + self.kind[1]], 1)
        ones = torch.ones(len(pixels), 1 + picture.shape[1], dtype=torch.bool)
        mask = torch.cat([ones, torch.arange(text.shape[1]) < length[:, None]], 1)
        return self.last(self.norm_last(self.block(x, mask))[:, 0])


def read(path):
    """Pictures, subwords and classes of the training and validation rows."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    part = np.array([row["split"] for row in rows])
    pictures = [Image.open(path.parent / row["picture"]).convert("RGB").resize((64, 64)) for row in rows]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=4000, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer.train_from_iterator([row["sentence"] for row in rows if row["split"] == "train"], trainer)
    texts = [torch.tensor(e.ids[:LENGTH]) for e in tokenizer.encode_batch([row["sentence"] for row in rows])]
    classes = sorted({row["label"] for row in rows})
    y = torch.tensor([classes.index(row["label"]) for row in rows])
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])), texts, y, part, tokenizer.get_vocab_size(), len(classes)


def main(path, epochs):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pixels, texts, y, part, words, classes = read(path)
    train, valid = np.flatnonzero(part == "train"), np.flatnonzero(part == "val")
    network = Network(words, classes)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01, fused=True)
    steps = epochs * math.ceil(len(train) / BATCH)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(10 * (i + 1) / steps, 0.5 + 0.5 * math.cos(math.pi * i / steps)))

    def logits(rows):
        some = [texts[i] for i in rows]
        index = nn.utils.rnn.pad_sequence(some, batch_first=True)
        return network(pixels[rows], index, torch.tensor([len(t) for t in some]))

    best = 0.0
    for epoch in range(epochs):
        network.train()
        for rows in np.array_split(np.random.default_rng(epoch).permutation(train), math.ceil(len(train) / BATCH)):
            F.cross_entropy(logits(rows), y[rows]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            rates.step()
        network.eval()
        with torch.inference_mode():
            best = max(best, float((logits(valid).argmax(1) == y[valid]).float().mean()))
    print(f"accuracy {best:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
